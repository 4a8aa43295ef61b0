"""Puts a job into a workspace: its output dataset, its spec and its pointer. Starts nothing."""

from __future__ import annotations

from dataclasses import replace
from secrets import token_hex
from uuid import uuid4

from batch.errors import UsageError
from batch.jobs.store import JobStore
from batch.spec.job_spec import JobSpec
from batch.workspace.store import DatasetRecord, JobPointer, Origin, Workspace


def submit(spec: JobSpec, workspace: Workspace, *, is_probed: bool = False) -> JobStore:
    """Store the job; after a crash in the middle the same call completes it. `is_probed`: the store was tried before.

    UsageError: its id or its output dataset belongs to another job. SpecMismatch: it stands with other settings.
    """
    wanted = JobPointer(spec.job_id, spec.output)
    _check_pointer(workspace.job(spec.job_id) or wanted, wanted)
    dataset = DatasetRecord(
        spec.output_dataset_id,
        Origin.JOB,
        created_at=spec.created_at,
        created_by=spec.created_by,
        source_job_id=spec.job_id,
    )
    if workspace.create_dataset(dataset).source_job_id != spec.job_id:
        raise UsageError(f"The output dataset {spec.output_dataset_id!r} exists already; name another one.")
    job_store = JobStore.open(spec.output, probe_nonce=None if is_probed else uuid4().hex)
    job_store.create_spec(replace(spec, token=token_hex(8)))
    _check_pointer(workspace.create_job(wanted), wanted)
    return job_store


def _check_pointer(standing: JobPointer, wanted: JobPointer) -> None:
    if standing != wanted:
        raise UsageError(f"Job {wanted.job_id!r} exists already, with its output in {standing.output}; use another id.")
