"""`/v1/accounts/{account}/batchInferenceJobs`."""

from __future__ import annotations

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends
from fastapi import Query as Parameter
from fastapi.responses import Response

from batch.server.fireworks import jobs
from batch.server.fireworks.objects import Json
from batch.server.http.answers import answer
from batch.server.http.errors import FIREWORKS_FAILURES
from batch.server.http.fireworks.calls import AccountId, Called, OwnId, asked
from batch.workspace.listing import Query

router = APIRouter(
    prefix="/v1/accounts/{account_id}/batchInferenceJobs",
    tags=["batch inference jobs"],
    responses=FIREWORKS_FAILURES,
)


@router.post("")
def create_job(
    call: Called,
    account_id: AccountId,
    body: jobs.CreateJob,
    batchInferenceJobId: Annotated[str, Parameter()] = "",  # noqa: N803 - the name on the wire
) -> Json:
    """Make a job."""
    return jobs.create_job(call, account_id, body, batchInferenceJobId)


@router.get("")
def list_jobs(call: Called, account_id: AccountId, query: Annotated[Query, Depends(asked)]) -> Json:
    """A page of the jobs."""
    return jobs.list_jobs(call, account_id, query)


@router.get("/{job_id:path}")
async def get_job(call: Called, account_id: AccountId, job_id: OwnId) -> Response:
    """One job. Whoever waits asks for it again and again: what was read a second ago needs no thread."""
    tenant = call.server.opened(call.caller.account_id)
    record = tenant.jobs.fresh(job_id) if tenant is not None else None
    if tenant is not None and record is not None and account_id in ("-", tenant.account_id):
        return answer(jobs.shown_job(call, tenant, record))
    return answer(await to_thread.run_sync(jobs.get_job, call, account_id, job_id))


@router.delete("/{job_id:path}")
def delete_job(call: Called, account_id: AccountId, job_id: OwnId) -> Json:
    """Forget a job."""
    return jobs.delete_job(call, account_id, job_id)
