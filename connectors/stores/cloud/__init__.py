"""Stores on S3, Google Cloud Storage and Azure, through fsspec; the only package that imports it.

Knows nothing of local files. Endpoints and keys come from the vendors' usual environment variables. The clients' own
retries are turned off where they can be: Retry does them all, with one budget.
"""

import importlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from itertools import chain
from typing import BinaryIO, TypeVar

from connectors.errors import Changed, NotFound, StoreError
from connectors.stores.cloud.errors import meaning, vendor_errors
from connectors.stores.cloud.service import Page, Service, Timeouts, Upload
from connectors.stores.retry import Retry
from connectors.stores.store import ObjectInfo, RangeFile, checked_content, checked_key, in_parts
from connectors.uri import Uri

T = TypeVar("T")
# Scheme: what to install, and our module with its class.
_SERVICES = {
    "s3": ("s3fs", "connectors.stores.cloud.s3", "S3Service"),
    "gs": ("gcsfs", "connectors.stores.cloud.gcs", "GcsService"),
    "az": ("adlfs", "connectors.stores.cloud.azure", "AzureService"),
}
PART_BYTES = 16 << 20
"""Of a content that is sent in parts. S3 takes 10,000 of them, which makes 156 GiB."""
_SETTINGS = ("AWS_", "GOOGLE_", "GCSFS_", "STORAGE_EMULATOR", "AZURE_", "FSSPEC_")


def open_cloud_store(uri: Uri) -> "CloudStore":
    """The store at an s3, gs or az address."""
    return CloudStore(uri)


class CloudStore:
    """Objects in a bucket below a prefix. Create-if-absent and reads of a version are the service's own conditions."""

    etag_is_checksum = True  # of S3 and Azure it changes with every write, of GCS it is the generation

    def __init__(self, uri: Uri, retry: Retry | None = None, *, timeouts: Timeouts | None = None) -> None:
        self.uri = str(uri)
        self._uri = uri
        self._retry = retry or Retry()
        self._timeouts = timeouts or Timeouts()
        self._opened: tuple[int, Service] | None = None

    def __reduce__(self) -> tuple[type["CloudStore"], tuple[Uri]]:
        return type(self), (self._uri,)

    def create(self, key: str, content: bytes) -> bool:
        content = checked_content(key, content)
        bucket, name = self._place(key)
        return self._call("create", key, lambda: self._service.write(bucket, name, content, create=True))

    def create_from(self, key: str, chunks: Iterable[bytes]) -> bool:
        parts = in_parts(chunks, PART_BYTES)
        first, second = next(parts, b""), next(parts, None)
        if second is None:
            return self.create(key, first)
        return self._create_in_parts(key, chain((first, second), parts))

    def _create_in_parts(self, key: str, parts: Iterable[bytes]) -> bool:
        bucket, name = self._place(key)
        begun = self._call("create", key, lambda: self._service.begin_upload(bucket, name))
        upload = None if begun is None else Upload(bucket, name, begun)
        try:
            for part, is_last in _with_last(parts):
                if upload is None:
                    return False
                upload = self._sent(key, upload, part, is_last=is_last)
            return upload is not None and self._call("create", key, partial(self._service.finish_upload, upload))
        except NotFound as error:
            # The upload is gone: an answer that was lost had finished it, or somebody dropped it.
            if self._stands(key):
                return False
            raise StoreError(f"{self.uri}/{key}: its parts were dropped while they were sent; send it again") from error
        except BaseException:
            if upload is not None:
                with suppress(*vendor_errors()):
                    self._service.drop_upload(upload)
            raise

    def _sent(self, key: str, upload: Upload, part: bytes, *, is_last: bool) -> Upload | None:
        """The upload with one more part; None: an object stands there."""
        receipt = self._call("create", key, partial(self._service.send_part, upload, part, is_last=is_last))
        return None if receipt is None else replace(upload, receipts=(*upload.receipts, receipt))

    def _stands(self, key: str) -> bool:
        try:
            return bool(self.head(key).size_bytes)
        except NotFound:
            return False

    def put(self, key: str, content: bytes) -> None:
        bucket, name = self._place(key)
        self._call("put", key, lambda: self._service.write(bucket, name, content, create=False))

    def get(self, key: str) -> bytes:
        bucket, name = self._place(key)
        return self._call("get", key, lambda: self._service.read(bucket, name))

    def get_range(self, key: str, start: int, end: int, *, etag: str | None = None) -> bytes:
        bucket, name = self._place(key)
        if end <= start:
            return b""
        try:
            return self._call("get_range", key, lambda: self._service.read(bucket, name, span=(start, end), etag=etag))
        except Changed as error:
            # Raises NotFound where the object is gone, which some services call a failed condition too.
            found = self.head(key)
            raise self._changed(key, etag, found) from error

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        found = self.head(key)
        if etag is not None and etag != found.etag:
            raise self._changed(key, etag, found)
        return RangeFile(
            lambda start, end: self.get_range(key, start, end, etag=found.etag), found.size_bytes
        ).buffered()

    def head(self, key: str) -> ObjectInfo:
        bucket, name = self._place(key)
        found = self._call("head", key, lambda: self._service.head(bucket, name))
        return replace(found, key=key)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        below = f"{self._uri.path}/" if self._uri.path else ""
        found: list[ObjectInfo] = []
        token: str | None = ""
        while token is not None:
            page = self._page(prefix, below + prefix, token)
            found += page.objects
            token = page.next_token
        for each in sorted(found, key=lambda each: each.key):
            yield replace(each, key=each.key.removeprefix(below))

    def keys(self, prefix: str) -> Iterator[str]:
        return (found.key for found in self.list(prefix))

    def delete(self, key: str) -> None:
        bucket, name = self._place(key)
        with suppress(NotFound):
            self._call("delete", key, lambda: self._service.delete(bucket, name))

    def _changed(self, key: str, etag: str | None, found: ObjectInfo) -> Changed:
        return Changed(f"{self.uri}/{key} changed: expected version {etag}, found {found.etag}")

    def _page(self, prefix: str, whole_prefix: str, token: str) -> Page:
        """A page of a listing, by itself, so that a failure does not begin the listing anew."""
        try:
            return self._call("list", prefix, lambda: self._service.list_page(self._uri.bucket, whole_prefix, token))
        except NotFound:
            return Page((), None)

    def _place(self, key: str) -> tuple[str, str]:
        return self._uri.bucket, f"{self._uri.path}/{checked_key(self.uri, key)}".lstrip("/")

    @property
    def _service(self) -> Service:
        # fsspec's clients do not survive a fork, and making one is slow: one per process and settings.
        process = os.getpid()
        if self._opened is None or self._opened[0] != process:
            settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith(_SETTINGS)))
            self._opened = (process, _connected(self._uri.scheme, self._timeouts, process, settings))
        return self._opened[1]

    def _call(self, verb: str, key: str, operation: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                return operation()
            except vendor_errors() as error:
                raise meaning(error, f"{self.uri}/{key}") from error

        return self._retry.run(attempt, verb=verb)


def _with_last(parts: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Each part, and whether it is the last one."""
    held: bytes | None = None
    for part in parts:
        if held is not None:
            yield held, False
        held = part
    if held is not None:
        yield held, True


@lru_cache(maxsize=16)
def _connected(scheme: str, timeouts: Timeouts, _process: int, _settings: tuple[tuple[str, str], ...]) -> Service:
    """The client of one process and one environment; the last two only tell clients apart."""
    package, module, name = _SERVICES[scheme]
    try:
        service: Service = getattr(importlib.import_module(module), name)(timeouts)
    except ImportError as error:
        raise StoreError(f"{scheme}:// needs the package {package}: pip install {package} ({error})") from error
    return service
