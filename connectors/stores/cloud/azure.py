"""Azure Blob Storage through adlfs: its credentials and client, the requests of Azure's own. Knows nothing of retries.

adlfs cannot tie a read to a version, nor turn off the client's retries, which begin by waiting fifteen seconds; the
client takes both with each request. Only a body that breaks off is read again by the client itself, at most twice.
"""

import base64
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from adlfs import AzureBlobFileSystem
from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError
from azure.storage.blob import BlobBlock

from connectors.stores.cloud.errors import status_of, vendor_errors
from connectors.stores.cloud.service import Page, Timeouts, Upload, finish
from connectors.stores.store import ObjectInfo

_EXISTS = ("BlobAlreadyExists", "ConditionNotMet")


class AzureService:
    """If-None-Match for creates, If-Match for reads. A bucket is a container of the account."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._options: dict[str, Any] = {
            "retry_total": 0,
            "connection_timeout": timeouts.connect_s,
            "read_timeout": timeouts.read_s,
        }
        self._client = AzureBlobFileSystem(use_listings_cache=False, skip_instance_cache=True)

    def write(self, bucket: str, name: str, content: bytes, *, create: bool) -> bool:
        request = self._blob(bucket, name).upload_blob(content, overwrite=not create, **self._options)
        try:
            finish(self._client.loop, request, self._timeouts.whole_s(len(content)))
        except ResourceExistsError as error:
            if create and getattr(error, "error_code", None) in _EXISTS:
                return False
            raise
        return True

    def begin_upload(self, bucket: str, name: str) -> str:  # noqa: ARG002 - Azure tells uploads apart by their blocks
        return uuid4().hex

    def send_part(self, upload: Upload, content: bytes, *, is_last: bool) -> str:  # noqa: ARG002 - of others
        block = base64.b64encode(f"{upload.token}-{len(upload.receipts):06d}".encode()).decode()
        request = self._blob(upload.bucket, upload.name).stage_block(block, content, **self._options)
        finish(self._client.loop, request, self._timeouts.whole_s(len(content)))
        return block

    def finish_upload(self, upload: Upload) -> bool:
        blocks = [BlobBlock(block) for block in upload.receipts]
        options = self._options | {"match_condition": MatchConditions.IfMissing}
        request = self._blob(upload.bucket, upload.name).commit_block_list(blocks, **options)
        try:
            finish(self._client.loop, request, self._timeouts.whole_s(0))
        except (ResourceExistsError, ResourceModifiedError) as error:
            if getattr(error, "error_code", None) in _EXISTS:
                return False
            raise
        return True

    def drop_upload(self, upload: Upload) -> None:
        """Nothing to do: blocks that are in no list go after a week."""

    def read(self, bucket: str, name: str, *, span: tuple[int, int] | None = None, etag: str | None = None) -> bytes:
        limit_s = self._timeouts.whole_s(span[1] - span[0]) if span else None
        try:
            return finish(self._client.loop, self._content(self._blob(bucket, name), span, etag), limit_s)
        except vendor_errors() as error:
            if status_of(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise

    def head(self, bucket: str, name: str) -> ObjectInfo:
        request = self._blob(bucket, name).get_blob_properties(**self._options)
        found = finish(self._client.loop, request, self._timeouts.whole_s(0))
        if _is_folder(found):
            raise FileNotFoundError(name)
        return _found(found)

    def list_page(self, bucket: str, prefix: str, token: str) -> Page:
        return finish(self._client.loop, self._page(bucket, prefix, token), self._timeouts.whole_s(0))

    def delete(self, bucket: str, name: str) -> None:
        request = self._blob(bucket, name).delete_blob(**self._options)
        finish(self._client.loop, request, self._timeouts.whole_s(0))

    def _blob(self, bucket: str, name: str) -> Any:
        return self._client.service_client.get_blob_client(bucket, name)

    async def _content(self, blob: Any, span: tuple[int, int] | None, etag: str | None) -> bytes:
        asked: dict[str, Any] = dict(self._options)
        if span is not None:
            asked |= {"offset": span[0], "length": span[1] - span[0]}
        if etag is not None:
            asked |= {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        stream = await blob.download_blob(**asked)
        content: bytes = await stream.readall()
        return content

    async def _page(self, bucket: str, prefix: str, token: str) -> Page:
        container = self._client.service_client.get_container_client(bucket)
        blobs = container.list_blobs(name_starts_with=prefix, include=["metadata"], **self._options)
        pages = blobs.by_page(continuation_token=token or None)
        async for page in pages:
            objects = [_found(each) async for each in page if not _is_folder(each)]
            return Page(tuple(objects), pages.continuation_token or None)
        return Page((), None)


def _found(properties: Any) -> ObjectInfo:
    written_at_s = properties.last_modified.timestamp()
    return ObjectInfo(properties.name, int(properties.size), properties.etag.strip('"'), written_at_s)


def _is_folder(properties: Any) -> bool:
    """Accounts with a hierarchical namespace keep a blob for each folder."""
    return (properties.metadata or {}).get("hdi_isfolder") == "true"
