"""From what a user types, a job id or an output, to the job's objects. Knows nothing of what is done with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from batch import layout
from batch.errors import JobNotFound
from batch.job_store import JobStore
from batch.launcher import log_path
from batch.profile import Settings
from batch.workspace import Workspace
from connectors.errors import NotFound
from connectors.registry import open_store


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


def latest_log(job_store: JobStore) -> Iterator[bytes]:
    """The lines of the latest attempt's log. JobNotFound when no attempt left one that can be seen from here."""
    numbers = job_store.epoch_numbers()
    number = numbers[-1] if numbers else 1
    try:
        with open_store(job_store.uri).open(layout.log(number)) as stored:
            yield from stored
        return
    except NotFound:
        local = log_path(job_store.uri, job_id=job_store.spec().job_id, attempt=number)
    try:
        with local.open("rb") as stream:
            yield from stream
    except FileNotFoundError:
        raise JobNotFound(f"Attempt {number} left no log in {job_store.uri} or on this machine.") from None
