"""`/v1/accounts/{account}/datasets`: create, upload, validate, get, list, update, delete, and where to download."""

from __future__ import annotations

from operator import itemgetter
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from pydantic import Field

from batch.clock import rfc3339
from batch.errors import UsageError
from batch.server.admin.keys import Role
from batch.server.files.drafts import Draft
from batch.server.http.callers import Changing, Looking, server_of
from batch.server.http.errors import FIREWORKS_FAILURES
from batch.server.http.fireworks.access import AccountId, OwnId, asked, bare_id, own_tenant
from batch.server.http.fireworks.objects import ERRORS_NAME, RESULTS_NAME, Body, dataset_object, draft_object
from batch.server.http.fireworks.transfers import signed_address
from batch.server.http.forms import Form, chunks_of, one_of_the_uploads
from batch.server.refusal import invalid, not_there
from batch.server.tenant import Tenant
from batch.workspace.listing import Listing, Query
from batch.workspace.store import DatasetRecord, Origin
from connectors.uri import parse_pattern

router = APIRouter(prefix="/v1/accounts/{account_id}/datasets", tags=["datasets"], responses=FIREWORKS_FAILURES)

Json = dict[str, Any]
_FIELDS = {
    "name": "name",
    "display_name": "displayName",
    "state": "state",
    "create_time": "createTime",
    "created_time": "createTime",
    "created_by": "createdBy",
    "example_count": "exampleCount",
    "source_job_name": "sourceJobName",
}
DATASETS: Listing[Json] = Listing(
    {name: itemgetter(shown) for name, shown in _FIELDS.items()}, key="name", default_order="name"
)


class DatasetBody(Body):
    """What a client says of a dataset."""

    display_name: str = ""
    example_count: int | None = Field(default=None, ge=0)
    external_url: str = ""


class CreateDataset(Body):
    """The body of a create."""

    dataset: DatasetBody = DatasetBody()
    dataset_id: str


class UploadEndpoint(Body):
    """Which files are to come, and how many bytes each has."""

    filename_to_size: dict[str, int]


@router.post("")
def create_dataset(request: Request, caller: Changing, account_id: AccountId, body: CreateDataset) -> Json:
    """Begin a dataset. One of an address is for admins: the server reads it with its own credentials."""
    tenant = own_tenant(request, caller, account_id)
    now = rfc3339(server_of(request).clock.now())
    dataset_id, told = tenant.workspace.bare_id("datasets", body.dataset_id), body.dataset
    if told.external_url:
        if caller.role is not Role.ADMIN:
            raise invalid("dataset.externalUrl", "Only an admin's key may name an address; upload the files.")
        uri = str(parse_pattern(told.external_url))
        record = DatasetRecord(dataset_id, Origin.EXTERNAL, now, caller.name, told.display_name, external_uri=uri)
        return dataset_object(tenant.workspace.create_dataset(record), tenant.workspace, is_ready=True)
    draft = Draft(dataset_id, now, caller.name, told.display_name, told.example_count)
    return draft_object(tenant.drafts.create(draft), tenant.workspace)


@router.get("")
def list_datasets(
    request: Request, caller: Looking, account_id: AccountId, query: Annotated[Query, Depends(asked)]
) -> Json:
    """A page of the datasets."""
    tenant = own_tenant(request, caller, account_id)
    drafts = [draft_object(draft, tenant.workspace) for draft in tenant.drafts.all()]
    found = DATASETS.page([*(_shown(tenant, each) for each in tenant.workspace.datasets()), *drafts], query)
    return {"datasets": found.items, "nextPageToken": found.next_page_token, "totalSize": found.total_size}


@router.post("/{dataset_id:path}:upload")
async def upload_file(request: Request, caller: Changing, account_id: AccountId, dataset_id: OwnId) -> Json:
    """Take the one file of a dataset, as the `file` of a form, which completes it."""
    with one_of_the_uploads(request):
        form = Form(request.headers.get("content-type", ""), chunks_of(request), "file")

        def receive() -> Json:
            tenant = own_tenant(request, caller, account_id)
            own_id = bare_id(tenant, "datasets", dataset_id)
            if tenant.drafts.get(own_id) is None:
                raise not_there("dataset that waits for files", own_id)
            file = form.file()
            first = next(file, b"")
            name = form.filename or "upload"

            def chunks() -> Any:
                yield first
                yield from file

            size_bytes = tenant.drafts.receive(own_id, name, chunks())
            tenant.drafts.expect(own_id, {name: size_bytes})
            record = tenant.drafts.finish(own_id)
            created_at = int(server_of(request).clock.now().timestamp())
            return {
                "id": record.dataset_id,
                "object": "file",
                "bytes": size_bytes,
                "created_at": created_at,
                "filename": name,
                "purpose": "batch",
            }

        return await to_thread.run_sync(receive)


@router.post("/{dataset_id:path}:getUploadEndpoint")
def upload_endpoint(
    request: Request, caller: Changing, account_id: AccountId, dataset_id: OwnId, body: UploadEndpoint
) -> Json:
    """Where to send each file of a dataset: an address that takes a PUT of so many bytes, for an hour."""
    tenant = own_tenant(request, caller, account_id)
    draft = tenant.drafts.expect(bare_id(tenant, "datasets", dataset_id), body.filename_to_size)
    return {
        "filenameToSignedUrls": {
            name: signed_address(request, "PUT", tenant.account_id, draft.dataset_id, name, size_bytes)
            for name, size_bytes in draft.sizes.items()
        }
    }


@router.post("/{dataset_id:path}:validateUpload")
def validate_upload(request: Request, caller: Changing, account_id: AccountId, dataset_id: OwnId) -> Json:
    """Complete a dataset, whose files have to be there. Odd rows are told of in the job's errors."""
    tenant = own_tenant(request, caller, account_id)
    tenant.drafts.finish(bare_id(tenant, "datasets", dataset_id))
    return {}


@router.get("/{dataset_id:path}:getDownloadEndpoint")
def download_endpoint(
    request: Request,
    caller: Looking,
    account_id: AccountId,
    dataset_id: OwnId,
    downloadLineage: bool = False,  # noqa: N803 - the name on the wire
) -> Json:
    """Where to get each file of a dataset from, for ten minutes; with those of the jobs that it continues."""
    tenant = own_tenant(request, caller, account_id)
    records = [_existing(tenant, dataset_id)]
    while downloadLineage and (before := _continued(tenant, records[-1])) is not None:
        records.append(before)
    return {
        "filenameToSignedUrls": {
            shown: signed_address(request, "GET", tenant.account_id, record.dataset_id, name, size_bytes)
            for record in records
            for shown, name, size_bytes in _files(tenant, record, is_prefixed=len(records) > 1)
        }
    }


@router.get("/{dataset_id:path}")
def get_dataset(request: Request, caller: Looking, account_id: AccountId, dataset_id: OwnId) -> Json:
    """One dataset."""
    tenant = own_tenant(request, caller, account_id)
    draft = tenant.drafts.get(bare_id(tenant, "datasets", dataset_id))
    if draft is not None:
        return draft_object(draft, tenant.workspace)
    return _shown(tenant, _existing(tenant, dataset_id))


@router.patch("/{dataset_id:path}")
def update_dataset(
    request: Request, caller: Changing, account_id: AccountId, dataset_id: OwnId, body: DatasetBody
) -> Json:
    """Change the display name, the one thing of a dataset that changes."""
    tenant = own_tenant(request, caller, account_id)
    record = _existing(tenant, dataset_id)
    renamed = tenant.workspace.rename_dataset(record.dataset_id, body.display_name)
    return _shown(tenant, renamed or record)


@router.delete("/{dataset_id:path}")
def delete_dataset(request: Request, caller: Changing, account_id: AccountId, dataset_id: OwnId) -> Json:
    """Delete a dataset; absent is fine. Refused while a job that has not ended reads or writes it."""
    tenant = own_tenant(request, caller, account_id)
    own_id = bare_id(tenant, "datasets", dataset_id)
    used_by = tenant.uses(own_id)
    if used_by:
        raise UsageError(f"Dataset {own_id!r} is used by {', '.join(used_by)}, which has not ended; delete that first.")
    tenant.drafts.delete(own_id)
    tenant.workspace.delete_dataset(own_id)
    return {}


def _existing(tenant: Tenant, given: str) -> DatasetRecord:
    own_id = bare_id(tenant, "datasets", given)
    record = tenant.workspace.dataset(own_id)
    if record is None:
        raise not_there("dataset", own_id)
    return record


def _shown(tenant: Tenant, record: DatasetRecord) -> Json:
    return dataset_object(record, tenant.workspace, is_ready=_is_ready(tenant, record))


def _is_ready(tenant: Tenant, record: DatasetRecord) -> bool:
    if record.origin is not Origin.JOB:
        return True
    job = tenant.jobs.get(record.source_job_id)
    return job is None or job.manifest is not None


def _continued(tenant: Tenant, record: DatasetRecord) -> DatasetRecord | None:
    """The output of the job that the job of this output continues."""
    job = tenant.jobs.get(record.source_job_id) if record.source_job_id else None
    old = tenant.jobs.get(job.spec.continued_from) if job is not None and job.spec.continued_from else None
    return None if old is None else tenant.workspace.dataset(old.spec.output_dataset_id)


def _files(tenant: Tenant, record: DatasetRecord, *, is_prefixed: bool) -> list[tuple[str, str, int]]:
    """(name for people, name in the dataset, bytes) of each file that can be downloaded."""
    if record.origin is Origin.JOB:
        if not _is_ready(tenant, record):
            raise not_there("dataset that is ready", record.dataset_id)
        folder = f"dataset/{record.dataset_id}"
        return [(f"{folder}/{name}", name, 0) for name in (RESULTS_NAME, ERRORS_NAME)]
    start = f"{record.dataset_id}/" if is_prefixed else ""
    return [(start + file.name, file.name, file.size_bytes) for file in record.files]
