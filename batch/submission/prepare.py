"""Everything that can be known to be wrong before an engine starts, checked in the order of its cost.

Writes nothing but the job's spec, and that last; removes nothing but a job of other settings that left no answer.
Starts nothing.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from batch import layout
from batch.clock import SystemClock
from batch.errors import JobNotFound, UsageError
from batch.jobs.lease import this_process, why_idle
from batch.jobs.store import JobStore
from batch.machine.resources import check_attempt
from batch.planning.input_files import find_inputs
from batch.rows.request import Decoder
from batch.submission.changed_inputs import refuse_other_inputs
from batch.submission.first_look import FirstLook
from batch.submission.retry_failed import continue_plan
from connectors.stores.registry import open_store
from connectors.uri import parse_uri

if TYPE_CHECKING:
    from batch.spec.job_spec import JobSpec

UNNAMED = "job"
"""The id of a spec that has none yet."""

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def named(spec: JobSpec) -> JobSpec:
    """The spec with an id made from its settings: the same settings are the same job."""
    return replace(spec, job_id="job-" + spec.digest.removeprefix("sha256:")[:12])


def prepare(spec: JobSpec, first_look: FirstLook, *, replicas: str | None, ray_address: str | None) -> JobStore:
    """The store of a job that may start with such an attempt, with its spec in it; of a finished job, too.

    Raises UsageError, SpecMismatch, InvalidInput, NotFound, UnsupportedFormat; then nothing was written.
    """
    check_settings(spec)
    job_store = JobStore.open(spec.output)
    is_stored = _is_stored(job_store)
    if is_stored and not _may_be_replaced(job_store, spec):
        job_store.create_spec(spec)
        if job_store.manifest() is None:
            check_attempt(spec, replicas=replicas, ray_address=ray_address)
            if job_store.plan() is None:
                _check_inputs(spec, first_look)
        refuse_other_inputs(job_store, spec)
        return job_store
    check_attempt(spec, replicas=replicas, ray_address=ray_address)
    if not is_stored:
        _check_output_is_free(spec.output)
    _check_inputs(spec, first_look)
    if is_stored:
        first_look.warn(f"{job_store.spec().job_id} had left no answer there: it is removed.")
        _remove(job_store)
    job_store = JobStore.open(spec.output, probe_nonce=token_hex(8))
    job_store.create_spec(replace(spec, token=token_hex(8)))
    return job_store


def _is_stored(job_store: JobStore) -> bool:
    try:
        job_store.spec()
    except JobNotFound:
        return False
    return True


def _may_be_replaced(job_store: JobStore, spec: JobSpec) -> bool:
    """Whether the job that stands there has other settings, was tried in vain, and left no answer; nobody works on it.

    One of a workspace is not: its id stands for its settings.
    """
    standing = job_store.spec()
    if standing.digest == spec.digest or standing.output_dataset_id:
        return False
    record = job_store.record(SystemClock().now())
    if not record.attempts or why_idle(record, this_process()) is None:
        return False
    store = open_store(job_store.uri)
    return not any(next(iter(store.list(prefix)), None) for prefix in (layout.COMMIT_PREFIX, layout.JOURNAL_PREFIX))


def _remove(job_store: JobStore) -> None:
    """Delete the job's objects and what it had begun to write; the spec goes last."""
    store = open_store(job_store.uri)
    for prefix in (layout.RESULTS_PREFIX, layout.ERRORS_PREFIX, layout.JOB_PREFIX):
        for key in [found.key for found in store.list(prefix) if found.key != layout.SPEC]:
            store.delete(key)
    store.delete(layout.SPEC)


def check_settings(spec: JobSpec) -> None:
    """What can be known of a spec without its inputs: its template, and whether model and adapters are there.

    Raises UsageError, BadUri.
    """
    Decoder(spec)
    if spec.engine == "vllm":
        _check_model(spec.model)
        for path in spec.lora.values():
            _check_model(path, needed="adapter_config.json")


def check_request(spec: JobSpec, first_look: FirstLook) -> None:
    """What can be known of a job over a dataset before it is stored. UsageError, InvalidInput, NotFound."""
    check_settings(spec)
    first_look(spec, find_inputs(spec.inputs, first_look.warn))


def _check_inputs(spec: JobSpec, first_look: FirstLook) -> None:
    if spec.continued_from:
        continue_plan(spec)
        return
    first_look(spec, find_inputs(spec.inputs, first_look.warn))
    if spec.on_invalid == "fail":
        first_look.refuse_invalid_lines(spec)


def _check_model(model: str, needed: str = "config.json") -> None:
    """Refuse a folder without a model in it, a path that is not there and a forbidden scheme. A hub id passes."""
    if "://" in model:
        parse_uri(model)
        return
    path = Path(model).expanduser()
    if _HUB_ID.fullmatch(model) and not path.exists():
        return
    if path.is_dir() and not (path / needed).is_file():
        raise UsageError(f"{model} holds no {needed}, so it is not the folder of a model or an adapter.")
    if not path.exists():
        raise UsageError(f"{model} is neither a folder on this machine nor a hub id such as org/name.")


def _check_output_is_free(output: str) -> None:
    """Refuse an output that is no folder, or under which another program's results lie: they would mix with ours."""
    target = parse_uri(output)
    if target.scheme == "memory":
        raise UsageError(f"{output} is the memory of one process, which the job's worker cannot see; name a folder.")
    if target.scheme == "file":
        file = next((path for path in (Path(target.path), *Path(target.path).parents) if path.is_file()), None)
        if file is not None:
            raise UsageError(f"{file} is a file, so {output} cannot be the folder of an output; use another output.")
    store = open_store(output)
    for prefix in (layout.RESULTS_PREFIX, layout.ERRORS_PREFIX, layout.MANIFEST):
        foreign = next((found for found in store.list(prefix) if found.size_bytes), None)
        if foreign is not None:
            raise UsageError(f"{output} already holds {foreign.key}, which is no part of a job; use another output.")
