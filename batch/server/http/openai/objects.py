"""Files, batches and models as OpenAI's clients read them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any, TypeVar

import orjson

from batch.clock import parse_rfc3339
from batch.layout import PartKind
from batch.records.state import JobRecord, JobState
from batch.result import Code
from batch.server.admin.models import ServedModel
from batch.server.files.outputs import OutputFile, output_id, output_of
from batch.server.files.uploaded import UploadedFile
from batch.server.jobs.submissions import Submission
from batch.server.refusal import Refused

T = TypeVar("T")
Json = dict[str, Any]

PURPOSE, OUTPUT_PURPOSE = "batch", "batch_output"
_STATUSES = {
    JobState.VALIDATING: "validating",
    JobState.PENDING: "validating",
    JobState.RUNNING: "in_progress",
    JobState.WRITING_RESULTS: "finalizing",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLING: "cancelling",
    JobState.CANCELLED: "cancelled",
    JobState.EXPIRED: "expired",
    JobState.DELETING: "cancelling",
}
_END_TIMES = {"completed": "completed_at", "failed": "failed_at", "expired": "expired_at", "cancelled": "cancelled_at"}
_ROW_CODES = {
    Code.EXPIRED.value: "batch_expired",
    Code.CANCELLED.value: "batch_cancelled",
    Code.TIMEOUT.value: "request_timeout",
}


def file_object(file: UploadedFile) -> Json:
    """An uploaded file."""
    return _file(
        file.file_id,
        size_bytes=file.size_bytes,
        created_at=file.created_at,
        expires_at=file.expires_at,
        filename=file.filename,
        purpose=file.purpose,
    )


def output_object(file: OutputFile) -> Json:
    """What a job wrote. The size is that of what is stored: of errors, the answer's lines are shorter."""
    return _file(
        file.file_id,
        size_bytes=file.output.size_bytes,
        created_at=file.created_at,
        expires_at=file.expires_at,
        filename=output_name(file),
        purpose=OUTPUT_PURPOSE,
    )


def output_name(file: OutputFile) -> str:
    """How a job's output is called when it is saved."""
    return f"{file.file_id.removeprefix('file-')}.jsonl"


def batch_object(record: JobRecord, submission: Submission | None, *, message: str, is_final: bool) -> Json:
    """A job. `message`: what is told of it; `is_final`: it has ended, with a ledger or without one."""
    status = status_of(record, is_final=is_final)
    end_at = _seconds(record.finished_at or record.updated_at) if is_final else None
    return {
        "id": record.job_id,
        "object": "batch",
        "endpoint": submission.endpoint if submission else "/v1/chat/completions",
        "model": submission.model if submission else record.spec.engine_config.model_names[0],
        "errors": _errors(message) if status == "failed" else None,
        "input_file_id": record.spec.input_dataset_id,
        "completion_window": submission.completion_window if submission else "24h",
        "status": status,
        "output_file_id": _output(record, "results"),
        "error_file_id": _output(record, "errors"),
        "created_at": _seconds(record.created_at),
        "in_progress_at": _seconds(record.started_at),
        "expires_at": _deadline(record),
        "finalizing_at": end_at if status == "completed" else None,
        "cancelling_at": end_at if status == "cancelled" else None,
        **{name: end_at if status == ending else None for ending, name in _END_TIMES.items()},
        "request_counts": {
            "total": record.progress.rows_total,
            "completed": record.progress.succeeded,
            "failed": record.progress.failed,
        },
        "usage": _usage(record),
        "metadata": submission.metadata if submission else {},
        "status_message": message,
    }


def status_of(record: JobRecord, *, is_final: bool) -> str:
    """OpenAI's word for the state. A job that an attempt of began, or will be tried again, is in progress."""
    if record.state is JobState.FAILED and not is_final:
        return "in_progress"
    if record.state is JobState.PENDING and record.attempts:
        return "in_progress"
    return _STATUSES[record.state]


def model_object(model: ServedModel) -> Json:
    """A registered model."""
    return {
        "id": model.name,
        "object": "model",
        "created": _seconds(model.created_at),
        "owned_by": "batchctl",
        "parent": model.base or None,
    }


def error_line(line: bytes) -> bytes:
    """A line of errors as OpenAI has them: the server's answer where there was one, else a code and a message."""
    stored = orjson.loads(line)
    error = stored.get("error") or {}
    if stored.get("response") is not None:
        stored["error"] = None
    else:
        code = error.get("code", Code.INTERNAL.value)
        stored["error"] = {
            "code": _ROW_CODES.get(code, code),
            "message": error.get("message", ""),
            "type": code,
            "line": error.get("line"),
            "param": error.get("field"),
        }
    return orjson.dumps(stored)


def page(
    items: Sequence[T],
    key: Callable[[T], tuple[str, str]],
    shown: Callable[[T], Json],
    *,
    after: str | None,
    limit: int,
    newest_first: bool,
) -> Json:
    """A page of a list, ordered by `key`, a time and an id. Refused: `after` is not one of the ids."""
    ordered = sorted(items, key=key, reverse=newest_first)
    start = 0
    if after:
        places = (place for place, item in enumerate(ordered) if key(item)[1] == after)
        start = next(places, -1) + 1
        if not start:
            raise Refused(HTTPStatus.BAD_REQUEST, "invalid_value", f"No item {after!r} in this list.", param="after")
    found = [shown(item) for item in ordered[start : start + limit]]
    return {
        "object": "list",
        "data": found,
        "first_id": found[0]["id"] if found else None,
        "last_id": found[-1]["id"] if found else None,
        "has_more": start + limit < len(ordered),
    }


def _file(file_id: str, *, size_bytes: int, created_at: str, expires_at: str, filename: str, purpose: str) -> Json:
    return {
        "id": file_id,
        "object": "file",
        "bytes": size_bytes,
        "created_at": _seconds(created_at),
        "expires_at": _seconds(expires_at),
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    }


def _output(record: JobRecord, kind: PartKind) -> str | None:
    return output_id(record.job_id, kind) if output_of(record, kind) is not None else None


def _deadline(record: JobRecord) -> int | None:
    seconds = record.spec.deadline_s
    if seconds is None:
        return None
    return int((parse_rfc3339(record.created_at) + timedelta(seconds=seconds)).timestamp())


def _errors(message: str) -> Json:
    return {
        "object": "list",
        "data": [{"code": "batch_failed", "message": message, "line": None, "param": None}],
    }


def _usage(record: JobRecord) -> Json | None:
    if record.manifest is None:
        return None
    usage = record.manifest.usage
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }


def _seconds(at: str | None) -> int | None:
    return int(parse_rfc3339(at).timestamp()) if at else None
