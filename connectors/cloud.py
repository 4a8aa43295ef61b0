"""Stores on S3, Google Cloud Storage and Azure, through fsspec; the only module that imports it.

Knows nothing of local files. Endpoints and keys come from the vendors' usual environment variables. The clients' own
retries are turned off where they can be: Retry does them all, with one budget.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any, BinaryIO, TypeVar

import fsspec
from fsspec.asyn import sync

from connectors.cloud_errors import meaning, status_of, vendor_errors
from connectors.errors import Changed, NotFound, StoreError
from connectors.retry import Retry
from connectors.store import ObjectInfo, RangeFile, checked_content, checked_key
from connectors.uri import Uri

T = TypeVar("T")
_PROTOCOLS = {"s3": "s3", "gs": "gcs", "az": "abfs"}
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
_SETTINGS = ("AWS_", "GOOGLE_", "GCSFS_", "STORAGE_EMULATOR", "AZURE_", "FSSPEC_")
# Well below the retry budget, so that a call that hangs is tried again.
_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S = 5, 20
_NO_CACHES = {"use_listings_cache": False, "skip_instance_cache": True}


def open_cloud_store(uri: Uri) -> "CloudStore":
    """The store at an s3, gs or az address."""
    return S3Store(uri) if uri.scheme == "s3" else CloudStore(uri)


class CloudStore:
    """Objects in a bucket below a prefix. Create-if-absent is the service's own conditional write."""

    def __init__(self, uri: Uri, retry: Retry | None = None) -> None:
        self.uri = str(uri)
        self._uri = uri
        self._retry = retry or Retry()
        self._opened: tuple[int, Any] | None = None

    def __reduce__(self) -> tuple[type["CloudStore"], tuple[Uri]]:
        return type(self), (self._uri,)

    def create(self, key: str, content: bytes) -> bool:
        content = checked_content(key, content)
        path = self._path(key)

        def create() -> bool:
            try:
                self._fs.pipe_file(path, content, mode="create")
            except FileExistsError:
                return False
            except vendor_errors() as error:
                # Not every service says which condition failed.
                if status_of(error) == HTTPStatus.PRECONDITION_FAILED:
                    return False
                raise
            return True

        return self._call(key, create)

    def put(self, key: str, content: bytes) -> None:
        path = self._path(key)
        self._call(key, lambda: self._fs.pipe_file(path, content))

    def get(self, key: str) -> bytes:
        path = self._path(key)
        return self._call(key, lambda: self._read(path, None, None, None))

    def get_range(self, key: str, start: int, end: int, *, etag: str | None = None) -> bytes:
        path = self._path(key)
        if end <= start:
            return b""
        return self._call(key, lambda: self._read(path, start, end, etag))

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        found = self.head(key)
        if etag is not None and etag != found.etag:
            raise Changed(f"{self.uri}/{key} changed: expected version {etag}, found {found.etag}")
        return RangeFile(
            lambda start, end: self.get_range(key, start, end, etag=found.etag), found.size_bytes
        ).buffered()

    def head(self, key: str) -> ObjectInfo:
        path = self._path(key)
        found = self._call(key, lambda: self._fs.info(path, refresh=True))
        if found["type"] != "file":
            raise NotFound(f"{self.uri}/{key} does not exist")
        return _object_info(key, found)

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        directory, _, name = prefix.rpartition("/")
        base = self._path(directory) if directory else self._root
        found: dict[str, Any] = {}
        with suppress(NotFound):
            found = self._call(prefix, lambda: self._fs.find(base, prefix=name, detail=True))
        for path in sorted(found):
            key = path.removeprefix(self._root + "/")
            if key.startswith(prefix) and key != path and found[path]["type"] == "file":
                yield _object_info(key, found[path])

    def delete(self, key: str) -> None:
        path = self._path(key)
        with suppress(NotFound):
            self._call(key, lambda: self._fs.rm_file(path))

    @property
    def _root(self) -> str:
        return f"{self._uri.bucket}/{self._uri.path}".rstrip("/")

    def _path(self, key: str) -> str:
        return f"{self._root}/{checked_key(self.uri, key)}"

    @property
    def _fs(self) -> Any:
        # fsspec's clients do not survive a fork, and making one is slow: one per process and settings.
        process = os.getpid()
        if self._opened is None or self._opened[0] != process:
            settings = tuple(sorted(item for item in os.environ.items() if item[0].startswith(_SETTINGS)))
            self._opened = (process, _filesystem(self._uri.scheme, process, settings))
        return self._opened[1]

    def _read(self, path: str, start: int | None, end: int | None, etag: str | None) -> bytes:
        content: bytes = self._fs.cat_file(path, start=start, end=end)
        # Checked after the read: content of another version than the one found now cannot pass as the planned one
        # unless the object changed back, and neither gcsfs nor adlfs can make the read itself conditional.
        if etag is not None and (found := _object_info("", self._fs.info(path, refresh=True)).etag) != etag:
            raise Changed(f"{self._uri.scheme}://{path} changed: expected version {etag}, found {found}")
        return content

    def _call(self, key: str, operation: Callable[[], T]) -> T:
        def attempt() -> T:
            try:
                return operation()
            except vendor_errors() as error:
                raise meaning(error, f"{self.uri}/{key}") from error

        return self._retry.run(attempt)


class S3Store(CloudStore):
    """S3 reads ask for the version they want (If-Match)."""

    def _read(self, path: str, start: int | None, end: int | None, etag: str | None) -> bytes:
        bucket, _, key = path.partition("/")
        asked: dict[str, str] = {"Bucket": bucket, "Key": key}
        if start is not None and end is not None:
            asked["Range"] = f"bytes={start}-{end - 1}"
        if etag is not None:
            asked["IfMatch"] = etag
        fs = self._fs
        try:
            content: bytes = sync(fs.loop, _get_object, fs, asked)
        except vendor_errors() as error:
            if status_of(error) == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                return b""
            raise
        return content


async def _get_object(fs: Any, asked: dict[str, str]) -> bytes:
    answer = await fs._call_s3("get_object", **asked)
    async with answer["Body"] as body:
        content: bytes = await body.read()
        return content


def _object_info(key: str, found: dict[str, Any]) -> ObjectInfo:
    etag = found.get("ETag") or found.get("etag") or found.get("generation") or ""
    return ObjectInfo(key, int(found["size"]), str(etag))


@lru_cache(maxsize=16)
def _filesystem(scheme: str, _process: int, _settings: tuple[tuple[str, str], ...]) -> Any:
    """The client of one process and one environment; the last two only tell clients apart."""
    try:
        kind = fsspec.get_filesystem_class(_PROTOCOLS[scheme])
    except ImportError as error:
        package = _PACKAGES[scheme]
        raise StoreError(f"{scheme}:// needs the package {package}: pip install {package} ({error})") from error
    if scheme != "s3":
        return kind(**_NO_CACHES)
    timeouts = {"connect_timeout": _CONNECT_TIMEOUT_S, "read_timeout": _READ_TIMEOUT_S}
    fs = kind(config_kwargs={"retries": {"total_max_attempts": 1}, **timeouts}, **_NO_CACHES)
    fs.retries = 1
    return fs
