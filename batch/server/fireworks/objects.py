"""Datasets, jobs and models as Fireworks' clients read them, and lines as its files have them. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from batch.clock import parse_rfc3339, rfc3339
from batch.records.state import JobRecord, JobState
from batch.sdk.job_fields import wire_state
from batch.server.admin.models import ServedModel
from batch.server.files.drafts import Draft
from batch.server.jobs.submissions import Submission
from batch.workspace.store import DatasetRecord, Workspace

Json = dict[str, Any]
RESULTS_NAME, ERRORS_NAME = "BIJOutputSet.jsonl", "error-data"


class Body(BaseModel):
    """A body whose names are in camelCase, or in snake_case as some clients send them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


def dataset_object(record: DatasetRecord, workspace: Workspace, *, is_ready: bool) -> Json:
    """A dataset. `is_ready`: False of one that a job still writes."""
    shown = {
        "name": workspace.full_name("datasets", record.dataset_id),
        "displayName": record.display_name,
        "createTime": record.created_at,
        "updateTime": record.created_at,
        "createdBy": record.created_by,
        "state": "READY" if is_ready else "UPLOADING",
        "status": {"code": "OK", "message": ""},
        "exampleCount": "0" if record.rows is None else str(record.rows),
        "externalUrl": record.external_uri,
        "sourceJobName": _name(workspace, "batchInferenceJobs", record.source_job_id),
    }
    return shown | ({"userUploaded": {}} if record.files else {})


def draft_object(draft: Draft, workspace: Workspace) -> Json:
    """A dataset whose files are not all there."""
    return {
        "name": workspace.full_name("datasets", draft.dataset_id),
        "displayName": draft.display_name,
        "createTime": draft.created_at,
        "updateTime": draft.created_at,
        "createdBy": draft.created_by,
        "state": "UPLOADING",
        "status": {"code": "OK", "message": ""},
        "exampleCount": "0" if draft.rows is None else str(draft.rows),
        "userUploaded": {},
    }


def job_object(
    record: JobRecord,
    submission: Submission | None,
    workspace: Workspace,
    *,
    message: str,
    is_final: bool,
    is_deleted: bool,
) -> Json:
    """A job. `message`: what is told of it; `is_final`: it has ended, with a ledger or without one."""
    spec = record.spec
    model = submission.model if submission else spec.engine_config.model_names[0]
    deadline_s = spec.deadline_s
    expires = parse_rfc3339(record.created_at) + timedelta(seconds=deadline_s) if deadline_s else None
    parameters = {to_camel(name): value for name, value in spec.parameters.to_dict().items() if name != "system_prompt"}
    if "extraBody" in parameters:
        parameters["extraBody"] = orjson.dumps(parameters["extraBody"]).decode()
    return {
        "name": workspace.full_name("batchInferenceJobs", record.job_id),
        "displayName": spec.display_name,
        "createTime": record.created_at,
        "updateTime": record.updated_at,
        "expireTime": rfc3339(expires) if expires else None,
        "createdBy": spec.created_by,
        "state": "JOB_STATE_DELETING" if is_deleted else state_of(record, is_final=is_final),
        "status": {"code": _status_code(record, is_final=is_final), "message": message},
        "model": f"accounts/{workspace.account_id}/models/{model}",
        "inputDatasetId": _name(workspace, "datasets", spec.input_dataset_id),
        "outputDatasetId": _name(workspace, "datasets", spec.output_dataset_id),
        "inferenceParameters": parameters,
        "systemPrompt": spec.parameters.system_prompt or "",
        "priority": submission.priority if submission else 0,
        "continuedFromJobName": _name(workspace, "batchInferenceJobs", spec.continued_from),
        "jobProgress": _progress(record),
    }


def model_object(model: ServedModel, workspace: Workspace) -> Json:
    """A registered model."""
    name = f"accounts/{workspace.account_id}/models/"
    shown = {
        "name": name + model.name,
        "displayName": model.display_name,
        "createTime": model.created_at,
        "kind": "HF_PEFT_ADDON" if model.base else "HF_BASE_MODEL",
        "state": "READY",
    }
    return shown | ({"peftDetails": {"baseModel": name + model.base}} if model.base else {})


def result_line(line: bytes) -> bytes:
    """A line of results: the answer itself beside its custom_id."""
    stored = orjson.loads(line)
    return orjson.dumps({"custom_id": stored["custom_id"], "response": stored["response"]["body"]})


def error_line(line: bytes) -> bytes:
    """A line of errors: a code and a message beside its custom_id, and where the line was in its file."""
    stored = orjson.loads(line)
    error = stored.get("error") or {}
    shown = {name: error.get(name) for name in ("code", "message", "field", "line") if error.get(name) is not None}
    return orjson.dumps({"custom_id": stored.get("custom_id"), "error": shown})


def state_of(record: JobRecord, *, is_final: bool) -> str:
    """The state as it is shown, `JOB_STATE_...`: a job that waits, or will be tried again, is pending."""
    if record.state is JobState.FAILED and not is_final:
        return wire_state(JobState.PENDING)
    if record.state is JobState.VALIDATING and not record.attempts:
        return wire_state(JobState.PENDING)
    # Neither of the public clients knows that state.
    return wire_state(JobState.DELETING if record.state is JobState.CANCELLING else record.state)


def _status_code(record: JobRecord, *, is_final: bool) -> str:
    return "INVALID_ARGUMENT" if record.state is JobState.FAILED and is_final else "OK"


def _progress(record: JobRecord) -> Json:
    progress, manifest = record.progress, record.manifest
    return {
        "percent": 100 * progress.rows_done // progress.rows_total if progress.rows_total else 0,
        "totalInputRequests": progress.rows_total,
        "totalProcessedRequests": progress.rows_done,
        "successfullyProcessedRequests": progress.succeeded,
        "failedRequests": progress.failed,
        "outputRows": progress.succeeded,
        "inputTokens": progress.prompt_tokens,
        "outputTokens": progress.completion_tokens,
        "cachedInputTokenCount": manifest.usage.cached_tokens if manifest else 0,
    }


def _name(workspace: Workspace, collection: Any, own_id: str) -> str:
    return workspace.full_name(collection, own_id) if own_id else ""
