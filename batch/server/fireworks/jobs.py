"""Batch inference jobs: create, get, list, delete."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from pydantic import Field

from batch.errors import UsageError
from batch.records.state import JobRecord
from batch.sdk.job_fields import JOBS, STATE_PREFIX
from batch.server.fireworks.call import Call, bare_id
from batch.server.fireworks.objects import Body, Json, job_object, state_of
from batch.server.jobs.submissions import Submission, digest_of
from batch.server.quotas import check_job
from batch.server.refusal import Refused, invalid, not_there
from batch.server.scheduler import has_ended
from batch.server.tenant import Asked, Tenant
from batch.spec.parameters import InferenceParameters
from batch.workspace.listing import Listing, Query

PREFIX = "bij-"
DEFAULT_DEADLINE_S = 24 * 3600.0
_DURATION = re.compile(r"(\d{1,9})(?:\.\d+)?([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_MAX_PRIORITY = 100


def _states(record: JobRecord) -> tuple[str, str]:
    """The state as it is shown, without and with the prefix of the wire."""
    shown = state_of(record, is_final=has_ended(record))
    return shown.removeprefix(STATE_PREFIX), shown


SHOWN_JOBS: Listing[JobRecord] = Listing(dict(JOBS.fields) | {"state": _states}, JOBS.key, JOBS.default_order)


class CreateJob(Body):
    """What is asked of a job. Fields that are not known are passed over."""

    model: str = ""
    input_dataset_id: str = ""
    output_dataset_id: str = ""
    display_name: str = ""
    inference_parameters: dict[str, Any] = Field(default_factory=dict)
    system_prompt: str | None = None
    continued_from_job_name: str = ""
    priority: int = Field(default=0, ge=-_MAX_PRIORITY, le=_MAX_PRIORITY)
    max_job_duration: str = ""


def create_job(call: Call, account_id: str, body: CreateJob, given_id: str) -> Json:
    """Make a job. The same request under the same id, or sent again by a client that retries, gets the same job."""
    call.caller.check_may_change()
    tenant = call.tenant(account_id)
    digest = digest_of(body.model_dump())
    own_id = given_id and tenant.workspace.bare_id("batchInferenceJobs", given_id)
    submission = _submission(call, tenant, body, digest, own_id)
    if submission.request_digest != digest:
        message = f"Job {submission.job_id!r} exists already, and asks for something else; use another id."
        raise Refused(HTTPStatus.CONFLICT, "already_exists", message, may_retry=False)
    record = tenant.jobs.get(submission.job_id) or _made(call, tenant, body, submission)
    call.server.submitted.set()
    return shown_job(call, tenant, record)


def get_job(call: Call, account_id: str, given: str) -> Json:
    """One job."""
    tenant = call.tenant(account_id)
    return shown_job(call, tenant, existing_job(tenant, given))


def list_jobs(call: Call, account_id: str, query: Query) -> Json:
    """A page of the jobs."""
    tenant = call.tenant(account_id)
    found = SHOWN_JOBS.page(tenant.jobs.all(), query)
    return {
        "batchInferenceJobs": [shown_job(call, tenant, record) for record in found.items],
        "nextPageToken": found.next_page_token,
        "totalSize": found.total_size,
    }


def delete_job(call: Call, account_id: str, given: str) -> Json:
    """Forget a job: at once when it has ended, else when it has been cancelled. Its output dataset stays."""
    call.caller.check_may_change()
    tenant = call.tenant(account_id)
    tenant.delete_job(existing_job(tenant, given), by=call.caller.name, at=call.now)
    call.server.submitted.set()
    return {}


def existing_job(tenant: Tenant, given: str) -> JobRecord:
    """The job by its id or full name. Refused: there is none."""
    own_id = bare_id(tenant, "batchInferenceJobs", given)
    record = tenant.jobs.get(own_id)
    if record is None:
        raise not_there("batchInferenceJob", own_id)
    return record


def shown_job(call: Call, tenant: Tenant, record: JobRecord) -> Json:
    """The job as clients read it."""
    return job_object(
        record,
        tenant.submissions.get(record.job_id),
        tenant.workspace,
        message=tenant.message(record, call.server.places) or call.why_waiting(tenant.account_id, record.job_id),
        is_final=has_ended(record),
        is_deleted=tenant.submissions.is_deleted(record.job_id),
    )


def _submission(call: Call, tenant: Tenant, body: CreateJob, digest: str, own_id: str) -> Submission:
    """What stands for this create: an earlier one of that id or of a client that retries, or a new one."""
    now = call.server.clock.now()
    sent = tenant.submissions.sent_before(PREFIX, digest, now) if call.is_retry and not own_id else None
    standing = tenant.submissions.get(own_id) if own_id else sent
    if standing is not None:
        return standing
    old = _old_job(tenant, body)
    model = body.model.rpartition("/")[2] or (_model_of(tenant, old) if old else "")
    given = body.input_dataset_id
    if not given and old is None:
        raise invalid("inputDatasetId", "Missing required parameter: 'inputDatasetId'.", "missing_required_parameter")
    if not model:
        raise invalid("model", "Missing required parameter: 'model'.", "missing_required_parameter")
    return Submission(
        job_id=own_id or call.server.ids.new(PREFIX, now),
        request_digest=digest,
        created_at=call.now,
        model=model,
        input_id=bare_id(tenant, "datasets", given) if given else (old.spec.input_dataset_id if old else ""),
        endpoint="/v1/chat/completions",
        completion_window="24h",
        priority=body.priority,
    )


def _made(call: Call, tenant: Tenant, body: CreateJob, submission: Submission) -> JobRecord:
    server = call.server
    if (model := server.models.existing(submission.model)).base:
        raise invalid("model", f"{model.name!r} is an adapter: ask for {model.base!r}, and name it in the rows.")
    check_job(server.account(tenant), tenant, priority=submission.priority)
    old = _old_job(tenant, body)
    parameters = dict(body.inference_parameters) | ({"system_prompt": body.system_prompt} if body.system_prompt else {})
    output = body.output_dataset_id
    asked_for = Asked(
        output_id=tenant.workspace.bare_id("datasets", output) if output else submission.job_id,
        engine=server.models.engine_of(submission.model),
        created_by=call.caller.name,
        inputs=_inputs(tenant, submission) if old is None else old.spec.inputs,
        parameters=InferenceParameters.from_dict(parameters),
        deadline_s=_duration_s(body.max_job_duration),
        display_name=body.display_name,
        row_model="ignore",
        continued=old.spec.output if old is not None else None,
    )
    return tenant.create_job(submission, asked_for)


def _inputs(tenant: Tenant, submission: Submission) -> tuple[str, ...]:
    if tenant.workspace.dataset(submission.input_id) is None:
        raise not_there("dataset that is ready", submission.input_id)
    return tenant.workspace.inputs_of(submission.input_id)


def _old_job(tenant: Tenant, body: CreateJob) -> JobRecord | None:
    """The job whose failed rows this one is to run. UsageError: it has not ended."""
    if not body.continued_from_job_name:
        return None
    old = existing_job(tenant, body.continued_from_job_name)
    if old.manifest is None:
        raise UsageError(f"Job {old.job_id!r} has not ended; continue it when it has.")
    return old


def _model_of(tenant: Tenant, record: JobRecord) -> str:
    submission = tenant.submissions.get(record.job_id)
    return submission.model if submission else ""


def _duration_s(text: str) -> float:
    if not text:
        return DEFAULT_DEADLINE_S
    found = _DURATION.fullmatch(text)
    if found is None or not int(found[1]):
        raise invalid("maxJobDuration", f"{text!r} is no duration such as 86400s or 24h.")
    return float(int(found[1]) * _SECONDS[found[2]])
