"""`/v1/accounts/{account}/datasets`. The verbs stand first: an id in a path takes everything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request

from batch.server.fireworks import datasets
from batch.server.fireworks.objects import Json
from batch.server.http.errors import FIREWORKS_FAILURES
from batch.server.http.fireworks.calls import AccountId, Called, OwnId, asked
from batch.server.http.forms import Form, chunks_of, one_of_the_uploads
from batch.workspace.listing import Query

router = APIRouter(prefix="/v1/accounts/{account_id}/datasets", tags=["datasets"], responses=FIREWORKS_FAILURES)


@router.post("")
def create_dataset(call: Called, account_id: AccountId, body: datasets.CreateDataset) -> Json:
    """Begin a dataset."""
    return datasets.create_dataset(call, account_id, body)


@router.get("")
def list_datasets(call: Called, account_id: AccountId, query: Annotated[Query, Depends(asked)]) -> Json:
    """A page of the datasets."""
    return datasets.list_datasets(call, account_id, query)


@router.post("/{dataset_id:path}:upload")
async def upload_file(request: Request, call: Called, account_id: AccountId, dataset_id: OwnId) -> Json:
    """Take the one file of a dataset, as the `file` of a form."""
    with one_of_the_uploads(request):
        form = Form(request.headers.get("content-type", ""), chunks_of(request), "file")

        def receive() -> Json:
            file = form.file()
            first = next(file, b"")  # what is before it tells its name
            return datasets.receive_file(call, account_id, dataset_id, form.filename or "upload", _after(first, file))

        return await to_thread.run_sync(receive)


@router.post("/{dataset_id:path}:getUploadEndpoint")
def upload_endpoint(call: Called, account_id: AccountId, dataset_id: OwnId, body: datasets.UploadEndpoint) -> Json:
    """Where to send each file of a dataset."""
    return datasets.upload_endpoint(call, account_id, dataset_id, body)


@router.post("/{dataset_id:path}:validateUpload")
def validate_upload(call: Called, account_id: AccountId, dataset_id: OwnId) -> Json:
    """Complete a dataset."""
    return datasets.validate_upload(call, account_id, dataset_id)


@router.get("/{dataset_id:path}:getDownloadEndpoint")
def download_endpoint(
    call: Called,
    account_id: AccountId,
    dataset_id: OwnId,
    downloadLineage: bool = False,  # noqa: N803 - the name on the wire
) -> Json:
    """Where to get each file of a dataset from."""
    return datasets.download_endpoint(call, account_id, dataset_id, with_lineage=downloadLineage)


@router.get("/{dataset_id:path}")
def get_dataset(call: Called, account_id: AccountId, dataset_id: OwnId) -> Json:
    """One dataset."""
    return datasets.get_dataset(call, account_id, dataset_id)


@router.patch("/{dataset_id:path}")
def update_dataset(call: Called, account_id: AccountId, dataset_id: OwnId, body: datasets.DatasetBody) -> Json:
    """Change the display name."""
    return datasets.update_dataset(call, account_id, dataset_id, body)


@router.delete("/{dataset_id:path}")
def delete_dataset(call: Called, account_id: AccountId, dataset_id: OwnId) -> Json:
    """Delete a dataset."""
    return datasets.delete_dataset(call, account_id, dataset_id)


def _after(first: bytes, others: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from others
