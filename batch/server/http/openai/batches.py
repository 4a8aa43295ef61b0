"""`/v1/batches`: create, retrieve, list, cancel."""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from batch.clock import rfc3339
from batch.errors import UsageError
from batch.records.objects import Stop, StopState
from batch.records.state import JobRecord
from batch.server.access import Caller
from batch.server.files.uploaded import UploadedFile
from batch.server.http.answers import answer
from batch.server.http.callers import Changing, Looking, is_retry, open_tenant, server_of, tenant_of
from batch.server.http.errors import OPENAI_FAILURES
from batch.server.http.openai.files import life_s
from batch.server.http.openai.objects import PURPOSE, batch_object, page
from batch.server.jobs.submissions import Submission, digest_of
from batch.server.quotas import check_job
from batch.server.refusal import Refused, invalid, not_there
from batch.server.scheduler import has_ended
from batch.server.server import BatchServer
from batch.server.tenant import Asked, Tenant, priority_of
from batch.spec.engine_config import EngineConfig
from batch.spec.parameters import InferenceParameters

router = APIRouter(prefix="/v1/batches", tags=["batches"], responses=OPENAI_FAILURES)

PREFIX = "batch_"
ENDPOINTS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses")
MAX_PAIRS, MAX_KEY, MAX_VALUE = 16, 64, 512
_WINDOW = re.compile(r"([1-9]\d{0,3})([hd])")
_LONGEST_WINDOW_H = 7 * 24
Json = dict[str, Any]


class ExpiresAfter(BaseModel):
    """How long the outputs are kept."""

    anchor: str
    seconds: int


class CreateBatch(BaseModel):
    """The body of a create. Fields that are not known are passed over, as OpenAI's server does."""

    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = Field(default=None)


@router.post("")
def create_batch(request: Request, caller: Changing, body: CreateBatch) -> Json:
    """Make a job of a file. The same request sent again by a client that retries gets the job of the first one."""
    server, tenant = server_of(request), tenant_of(request, caller)
    window_s = _checked(body)
    file = _input_file(tenant, body.input_file_id)
    engine = _engine(server, file.model)
    digest = digest_of(body.model_dump())
    now = server.clock.now()
    sent = tenant.submissions.sent_before(PREFIX, digest, now) if is_retry(request) else None
    metadata = body.metadata or {}
    expiry = body.output_expires_after
    submission = sent or Submission(
        job_id=_job_id(request, tenant, digest, server.ids.new(PREFIX, now)),
        request_digest=digest,
        created_at=rfc3339(now),
        model=file.model,
        input_id=file.file_id,
        endpoint=body.endpoint,
        completion_window=body.completion_window,
        metadata=metadata,
        output_ttl_s=life_s(expiry.anchor, expiry.seconds, "output_expires_after") if expiry else None,
        priority=_priority(metadata),
    )
    if tenant.jobs.get(submission.job_id) is None:
        check_job(server.account(tenant), tenant, priority=submission.priority)
    asked = Asked(
        output_id=submission.job_id,
        engine=engine,
        created_by=caller.name,
        inputs=tenant.content_of(file.file_id),
        parameters=InferenceParameters(),
        deadline_s=window_s,
    )
    record = tenant.create_job(submission, asked)
    server.submitted.set()
    return _shown(request, caller, record, tenant)


@router.get("/{batch_id}")
async def retrieve_batch(request: Request, caller: Looking, batch_id: str) -> Response:
    """One job. Whoever waits asks for it again and again: what was read a second ago needs no thread."""
    tenant = await open_tenant(request, caller)
    record = tenant.jobs.fresh(batch_id)
    if record is None:
        record = await to_thread.run_sync(_existing, tenant, batch_id)
    return answer(_shown(request, caller, record, tenant))


@router.get("")
def list_batches(
    request: Request,
    caller: Looking,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Json:
    """All jobs of the account, the newest first."""
    tenant = tenant_of(request, caller)
    return page(
        tenant.jobs.all(),
        lambda record: (record.created_at, record.job_id),
        lambda record: _shown(request, caller, record, tenant),
        after=after,
        limit=limit,
        newest_first=True,
    )


@router.post("/{batch_id}/cancel")
def cancel_batch(request: Request, caller: Changing, batch_id: str) -> Json:
    """Ask a job to end early; one that has ended is shown as it is, so that a cancel may be sent again."""
    server, tenant = server_of(request), tenant_of(request, caller)
    record = _existing(tenant, batch_id)
    store = tenant.jobs.store(batch_id)
    if store is not None and not has_ended(record):
        store.request_stop(Stop(StopState.CANCELLED, f"Cancelled by {caller.name}.", rfc3339(server.clock.now())))
        tenant.jobs.forget(batch_id)
        server.submitted.set()
        record = _existing(tenant, batch_id)
    return _shown(request, caller, record, tenant)


def _checked(body: CreateBatch) -> float:
    """The completion window in seconds. Refused: a field that cannot be."""
    if body.endpoint not in ENDPOINTS:
        message = f"Invalid value: {body.endpoint!r}. Supported values are: {', '.join(ENDPOINTS)}."
        raise invalid("endpoint", message, "unsupported_endpoint")
    found = _WINDOW.fullmatch(body.completion_window)
    hours = int(found[1]) * (24 if found[2] == "d" else 1) if found else 0
    if not 1 <= hours <= _LONGEST_WINDOW_H:
        raise invalid("completion_window", f"Invalid value: {body.completion_window!r}. From '1h' to '7d', as '24h'.")
    metadata = body.metadata or {}
    if len(metadata) > MAX_PAIRS:
        raise invalid("metadata", f"It has {len(metadata)} pairs; at most {MAX_PAIRS} are kept.")
    for key, value in metadata.items():
        if len(key) > MAX_KEY or len(value) > MAX_VALUE:
            limits = f"a key has at most {MAX_KEY} characters and a value {MAX_VALUE}"
            raise invalid(f"metadata.{key[:MAX_KEY]}", f"Too long: {limits}.")
    return hours * 3600.0


def _priority(metadata: dict[str, str]) -> int:
    try:
        return priority_of(metadata)
    except UsageError as error:
        raise invalid("metadata.batchctl_priority", str(error)) from None


def _input_file(tenant: Tenant, file_id: str) -> UploadedFile:
    try:
        file = tenant.files.get(file_id)
    except Refused as refused:
        raise Refused(refused.status, refused.code, refused.message, param="input_file_id") from None
    if file.purpose != PURPOSE:
        raise invalid("input_file_id", f"File {file_id} has the purpose {file.purpose!r}; upload it as '{PURPOSE}'.")
    return file


def _engine(server: BatchServer, model: str) -> EngineConfig:
    try:
        return server.models.engine_of(model)
    except UsageError as error:
        message = str(error) if model else f"The first rows of the file name no model. {error}"
        raise Refused(HTTPStatus.NOT_FOUND, "model_not_found", message, param="model") from None


def _job_id(request: Request, tenant: Tenant, digest: str, new_id: str) -> str:
    """The id that an Idempotency-Key stands for; a new one without such a key."""
    key = request.headers.get("idempotency-key")
    if not key:
        return new_id
    job_id, is_same = tenant.submissions.named(hashlib.sha256(key.encode()).hexdigest(), new_id, digest)
    if not is_same:
        message = "This Idempotency-Key was used for another request; use a new key."
        raise Refused(HTTPStatus.CONFLICT, "idempotency_key_in_use", message, may_retry=False)
    return job_id


def _existing(tenant: Tenant, batch_id: str) -> JobRecord:
    try:
        record = tenant.jobs.get(batch_id)
    except UsageError:  # no id at all
        record = None
    if record is None:
        raise not_there("batch", batch_id)
    return record


def _shown(request: Request, caller: Caller, record: JobRecord, tenant: Tenant) -> Json:
    told = tenant.message(record, server_of(request).places)
    message = told or request.app.state.why_waiting(caller.account_id, record.job_id)
    is_final = has_ended(record)
    return batch_object(record, tenant.submissions.get(record.job_id), message=message, is_final=is_final)
