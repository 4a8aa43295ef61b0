"""Google Cloud Storage through gcsfs: its credentials and session, the requests of the JSON API. Nothing of retries.

gcsfs's own uploads are not used: they end a content early that holds their fixed multipart boundary, which a row of
the user's may, and its reads cannot be tied to a version.
"""

import os
from datetime import datetime
from http import HTTPStatus
from types import MethodType
from typing import Any

from aiohttp import ClientTimeout
from gcsfs.core import GCSFileSystem

from connectors.errors import Changed
from connectors.stores.cloud.errors import status_of, vendor_errors
from connectors.stores.cloud.service import Page, Timeouts, Upload, finish
from connectors.stores.store import ObjectInfo

_OBJECT = "b/{}/o/{}"


class GcsService:
    """Generations: ifGenerationMatch=0 for creates, the wanted one for reads."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        silence = ClientTimeout(total=None, connect=timeouts.connect_s, sock_read=timeouts.read_s)
        # The plain client: the extended one asks each bucket's kind over gRPC first, also where there is none. Named
        # credentials: left to itself it goes on without any, after asking a metadata server for emulators too.
        self._client = GCSFileSystem(
            token="anon" if os.environ.get("STORAGE_EMULATOR_HOST") else "google_default",
            requests_timeout=silence,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        # Kept: it would be looked up in the environment at each request.
        self._client._endpoint = self._client._location
        # Without its decorator, which tries six times.
        self._client._request = MethodType(GCSFileSystem._request.__wrapped__, self._client)

    def write(self, bucket: str, name: str, content: bytes, *, create: bool) -> bool:
        request = self._client._call(
            "POST",
            self._root + "upload/storage/v1/b/{}/o",
            bucket,
            headers={"Content-Type": "application/octet-stream"},
            data=content,
            uploadType="media",
            name=name,
            ifGenerationMatch="0" if create else None,
        )
        try:
            finish(self._client.loop, request, self._timeouts.whole_s(len(content)))
        except FileExistsError:
            return False
        return True

    def begin_upload(self, bucket: str, name: str) -> str | None:
        path = self._root + "upload/storage/v1/b/{}/o"
        begin = self._client._request("POST", path, bucket, uploadType="resumable", name=name, ifGenerationMatch="0")
        try:
            _, headers, _, _ = finish(self._client.loop, begin, self._timeouts.whole_s(0))
        except FileExistsError:
            return None
        return str(headers["Location"])

    def send_part(self, upload: Upload, content: bytes, *, is_last: bool) -> str | None:
        """The last part tells how many bytes there are, and with it the service judges the condition."""
        start = int(upload.receipts[-1]) if upload.receipts else 0
        end = start + len(content)
        span = {"Content-Range": f"bytes {start}-{end - 1}/{end if is_last else '*'}"}
        request = self._client._request("PUT", upload.token, headers=span, data=content)
        try:
            _, headers, _, _ = finish(self._client.loop, request, self._timeouts.whole_s(len(content)))
        except FileExistsError:
            return None
        kept = end if is_last else int(headers.get("Range", "0--1").rpartition("-")[2]) + 1
        if kept < end:
            # What it has already it passes over when all is sent again.
            raise ConnectionError(f"the service kept {kept} bytes of {end}")
        return str(end)

    def finish_upload(self, upload: Upload) -> bool:  # noqa: ARG002 - the last part did it
        return True

    def drop_upload(self, upload: Upload) -> None:
        finish(self._client.loop, self._client._request("DELETE", upload.token), self._timeouts.whole_s(0))

    def read(self, bucket: str, name: str, *, span: tuple[int, int] | None = None, etag: str | None = None) -> bytes:
        request = self._client._call(
            "GET",
            self._root + "download/storage/v1/" + _OBJECT,
            bucket,
            name,
            headers={"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {},
            alt="media",
            ifGenerationMatch=etag,
        )
        try:
            _, content = finish(self._client.loop, request, self._timeouts.whole_s(span[1] - span[0]) if span else None)
        except FileExistsError as error:
            # What gcsfs makes of every failed precondition.
            raise Changed(f"gs://{bucket}/{name} changed: it is no longer generation {etag}") from error
        except vendor_errors() as error:
            if status_of(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise
        return bytes(content)

    def head(self, bucket: str, name: str) -> ObjectInfo:
        return _found(self._ask("GET", _OBJECT, bucket, name))

    def list_page(self, bucket: str, prefix: str, token: str) -> Page:
        page = self._ask("GET", "b/{}/o", bucket, prefix=prefix, pageToken=token or None)
        # A name that ends so is a console's picture of a folder.
        kept = tuple(_found(each) for each in page.get("items", ()) if not each["name"].endswith("/"))
        return Page(kept, page.get("nextPageToken"))

    def delete(self, bucket: str, name: str) -> None:
        request = self._client._call("DELETE", _OBJECT, bucket, name)
        finish(self._client.loop, request, self._timeouts.whole_s(0))

    @property
    def _root(self) -> str:
        return str(self._client.base).removesuffix("storage/v1/")

    def _ask(self, method: str, path: str, *names: str, **parameters: str | None) -> dict[str, Any]:
        request = self._client._call(method, path, *names, json_out=True, **parameters)
        answer: dict[str, Any] = finish(self._client.loop, request, self._timeouts.whole_s(0))
        return answer


def _found(described: dict[str, Any]) -> ObjectInfo:
    written_at_s = datetime.fromisoformat(described["timeCreated"]).timestamp()  # of this generation
    return ObjectInfo(described["name"], int(described["size"]), str(described["generation"]), written_at_s)
