"""A job record under the names that clients know: the Build SDK's dictionary, and the fields of a list.

Knows nothing of stores and workers.
"""

from __future__ import annotations

from datetime import UTC

import orjson

from batch.clock import parse_rfc3339
from batch.records.state import JobRecord, JobState
from batch.workspace.listing import Listing
from batch.workspace.store import Workspace

STATE_PREFIX = "JOB_STATE_"


def wire_state(state: JobState) -> str:
    """`JOB_STATE_RUNNING`."""
    return f"{STATE_PREFIX}{state.value}"


JOBS: Listing[JobRecord] = Listing(
    fields={
        "job_id": lambda record: record.job_id,
        "name": lambda record: record.job_id,
        "display_name": lambda record: record.spec.display_name,
        "state": lambda record: (record.state.value, wire_state(record.state)),
        "model": lambda record: record.model,
        "created_by": lambda record: record.spec.created_by,
        "create_time": lambda record: record.created_at,
        "created_time": lambda record: record.created_at,
        "update_time": lambda record: record.updated_at,
        "input_dataset_id": lambda record: record.spec.input_dataset_id,
        "output_dataset_id": lambda record: record.spec.output_dataset_id,
        "failed": lambda record: record.progress.failed,
        "stale": lambda record: record.stale,
    },
    key="job_id",
    default_order="create_time",
)


def as_dict(record: JobRecord, workspace: Workspace) -> dict[str, object]:
    """The job as the Build SDK's `to_dict` gives it: set fields only, in the order of its message."""
    spec = record.spec
    shown: dict[str, object] = {
        "name": job_name(record.job_id, workspace),
        "display_name": spec.display_name,
        "create_time": _time(record.created_at),
        "created_by": spec.created_by,
        "state": wire_state(record.state),
        "status_message": record.message,
        "model": record.model,
        "input_dataset_id": _dataset_name(spec.input_dataset_id, workspace),
        "output_dataset_id": _dataset_name(spec.output_dataset_id, workspace),
        "inference_parameters": _parameters(record),
        "update_time": _time(record.updated_at),
        "job_progress": _progress(record),
        "continued_from_job_name": job_name(spec.continued_from, workspace),
    }
    return {name: value for name, value in shown.items() if value not in ("", {})}


def _time(at: str) -> str:
    return parse_rfc3339(at).astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def job_name(job_id: str, workspace: Workspace) -> str:
    """The full name of a job; empty for an empty id."""
    return workspace.full_name("batchInferenceJobs", job_id) if job_id else ""


def _dataset_name(dataset_id: str, workspace: Workspace) -> str:
    return workspace.full_name("datasets", dataset_id) if dataset_id else ""


def _parameters(record: JobRecord) -> dict[str, object]:
    """`extra_body` is a JSON text in the SDK's message."""
    shown = record.spec.parameters.to_dict()
    return shown | {name: orjson.dumps(shown[name]).decode() for name in ("extra_body",) if name in shown}


def _progress(record: JobRecord) -> dict[str, int]:
    progress = record.progress
    shown = {
        "percent": 100 * progress.rows_done // progress.rows_total if progress.rows_total else 0,
        "total_input_requests": progress.rows_total,
        "total_processed_requests": progress.rows_done,
        "successfully_processed_requests": progress.succeeded,
        "failed_requests": progress.failed,
        "output_rows": progress.succeeded,
        "input_tokens": progress.prompt_tokens,
        "output_tokens": progress.completion_tokens,
    }
    return {name: value for name, value in shown.items() if value}
