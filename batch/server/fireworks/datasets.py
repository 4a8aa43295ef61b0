"""Datasets: create, files, get, list, update, delete, and where to upload and download."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter

from pydantic import Field

from batch.errors import UsageError
from batch.server.admin.keys import Role
from batch.server.files.drafts import Draft
from batch.server.fireworks.call import Call, bare_id
from batch.server.fireworks.objects import ERRORS_NAME, RESULTS_NAME, Body, Json, dataset_object, draft_object
from batch.server.refusal import invalid, not_there
from batch.server.tenant import Tenant
from batch.workspace.listing import Listing, Query
from batch.workspace.store import DatasetRecord, Origin
from connectors.uri import parse_pattern

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


def create_dataset(call: Call, account_id: str, body: CreateDataset) -> Json:
    """Begin a dataset. One of an address is for admins: the server reads it with its own credentials."""
    call.caller.check_may_change()
    tenant = call.tenant(account_id)
    dataset_id, told = tenant.workspace.bare_id("datasets", body.dataset_id), body.dataset
    if told.external_url:
        if call.caller.role is not Role.ADMIN:
            raise invalid("dataset.externalUrl", "Only an admin's key may name an address; upload the files.")
        uri = str(parse_pattern(told.external_url))
        by = call.caller.name
        record = DatasetRecord(dataset_id, Origin.EXTERNAL, call.now, by, told.display_name, external_uri=uri)
        return dataset_object(tenant.workspace.create_dataset(record), tenant.workspace, is_ready=True)
    draft = Draft(dataset_id, call.now, call.caller.name, told.display_name, told.example_count)
    return draft_object(tenant.drafts.create(draft), tenant.workspace)


def list_datasets(call: Call, account_id: str, query: Query) -> Json:
    """A page of the datasets."""
    tenant = call.tenant(account_id)
    drafts = [draft_object(draft, tenant.workspace) for draft in tenant.drafts.all()]
    found = DATASETS.page([*(_shown(tenant, each) for each in tenant.workspace.datasets()), *drafts], query)
    return {"datasets": found.items, "nextPageToken": found.next_page_token, "totalSize": found.total_size}


def receive_file(call: Call, account_id: str, given: str, name: str, chunks: Iterator[bytes]) -> Json:
    """Take the one file of a dataset, which completes it."""
    call.caller.check_may_change()
    tenant = call.tenant(account_id)
    own_id = bare_id(tenant, "datasets", given)
    if tenant.drafts.get(own_id) is None:
        raise not_there("dataset that waits for files", own_id)
    size_bytes = tenant.drafts.receive(own_id, name, chunks)
    tenant.drafts.expect(own_id, {name: size_bytes})
    record = tenant.drafts.finish(own_id)
    return {
        "id": record.dataset_id,
        "object": "file",
        "bytes": size_bytes,
        "created_at": int(call.server.clock.now().timestamp()),
        "filename": name,
        "purpose": "batch",
    }


def upload_endpoint(call: Call, account_id: str, given: str, body: UploadEndpoint) -> Json:
    """Where to send each file of a dataset: an address that takes a PUT of so many bytes, for an hour."""
    call.caller.check_may_change()
    tenant = call.tenant(account_id)
    draft = tenant.drafts.expect(bare_id(tenant, "datasets", given), body.filename_to_size)
    return {
        "filenameToSignedUrls": {
            name: call.signed("PUT", tenant, draft.dataset_id, name, size_bytes)
            for name, size_bytes in draft.sizes.items()
        }
    }


def validate_upload(call: Call, account_id: str, given: str) -> Json:
    """Complete a dataset, whose files have to be there. Odd rows are told of in the job's errors."""
    call.caller.check_may_change()
    tenant = call.tenant(account_id)
    tenant.drafts.finish(bare_id(tenant, "datasets", given))
    return {}


def download_endpoint(call: Call, account_id: str, given: str, *, with_lineage: bool) -> Json:
    """Where to get each file of a dataset from, for ten minutes; with those of the jobs that it continues."""
    tenant = call.tenant(account_id)
    records = [_existing(tenant, given)]
    while with_lineage and (before := _continued(tenant, records[-1])) is not None:
        records.append(before)
    return {
        "filenameToSignedUrls": {
            shown: call.signed("GET", tenant, record.dataset_id, name, size_bytes)
            for record in records
            for shown, name, size_bytes in _files(tenant, record, is_prefixed=len(records) > 1)
        }
    }


def get_dataset(call: Call, account_id: str, given: str) -> Json:
    """One dataset."""
    tenant = call.tenant(account_id)
    draft = tenant.drafts.get(bare_id(tenant, "datasets", given))
    if draft is not None:
        return draft_object(draft, tenant.workspace)
    return _shown(tenant, _existing(tenant, given))


def update_dataset(call: Call, account_id: str, given: str, body: DatasetBody) -> Json:
    """Change the display name, the one thing of a dataset that changes."""
    call.caller.check_may_change()
    tenant = call.tenant(account_id)
    record = _existing(tenant, given)
    renamed = tenant.workspace.rename_dataset(record.dataset_id, body.display_name)
    return _shown(tenant, renamed or record)


def delete_dataset(call: Call, account_id: str, given: str) -> Json:
    """Delete a dataset; absent is fine. Refused while a job that has not ended reads or writes it."""
    call.caller.check_may_change()
    tenant = call.tenant(account_id)
    own_id = bare_id(tenant, "datasets", given)
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
