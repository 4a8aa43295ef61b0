"""From what a user types, a job id or an output, to the job's objects. Knows nothing of what is done with them."""

from __future__ import annotations

from pathlib import Path

from batch import layout
from batch.errors import JobNotFound
from batch.jobs.store import JobStore
from batch.machine.launcher import log_path
from batch.settings import Settings
from batch.workspace.store import Workspace
from connectors.errors import NotFound
from connectors.stores.registry import open_store


def find_job(given: str, settings: Settings) -> JobStore:
    """The job under an output, or of that id in the workspace. JobNotFound, BadUri.

    A bare word is an output when a job lies in the folder of that name, else a job id.
    """
    if "/" in given.removeprefix("accounts/") and not given.startswith("accounts/"):
        return _existing(JobStore.open(given))
    if given in (".", "..") or (Path(given) / layout.SPEC).is_file():
        return _existing(JobStore.open(given))
    workspace = Workspace(settings.workspace, settings.account_id)
    pointer = workspace.job(workspace.bare_id("batchInferenceJobs", given))
    if pointer is None:
        raise JobNotFound(f"{given} is neither the output folder of a job nor the id of one in {workspace.uri}.")
    return _existing(JobStore.open(pointer.output))


def _existing(job_store: JobStore) -> JobStore:
    job_store.spec()
    return job_store


def read_log(job_store: JobStore, attempt: int, start: int = 0) -> bytes:
    """An attempt's log from byte `start` on. JobNotFound when it left none that can be seen from here."""
    try:
        with open_store(job_store.uri).open(layout.log(attempt)) as stored:
            stored.seek(start)
            return stored.read()
    except NotFound:
        local = log_path(job_store.uri, job_id=job_store.spec().job_id, attempt=attempt)
    try:
        with local.open("rb") as stream:
            stream.seek(start)
            return stream.read()
    except FileNotFoundError:
        raise JobNotFound(f"Attempt {attempt} left no log in {job_store.uri} or on this machine.") from None


def where_log_is(job_store: JobStore, attempt: int) -> str:
    """The path or URI of an attempt's log; empty when it left none that can be seen from here."""
    local = log_path(job_store.uri, job_id=job_store.spec().job_id, attempt=attempt)
    if local.exists():
        return str(local)
    try:
        open_store(job_store.uri).head(layout.log(attempt))
    except NotFound:
        return ""
    return f"{job_store.uri}/{layout.log(attempt)}"
