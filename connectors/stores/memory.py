"""A store in the memory of this process, for tests. Knows nothing of files or networks."""

import hashlib
import io
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from connectors.errors import Changed, NotFound
from connectors.stores.store import ObjectInfo, checked_content, checked_key
from connectors.uri import Uri


@dataclass(slots=True)
class _Shelf:
    """All objects of one name."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    contents: dict[str, bytes] = field(default_factory=dict)


_shelves: dict[str, _Shelf] = {}


class MemoryStore:
    """Two stores of one name in one process see the same objects."""

    etag_is_checksum = True

    def __init__(self, uri: Uri) -> None:
        self.uri = str(uri)
        self._uri = uri
        self._shelf = _shelves.setdefault(uri.bucket, _Shelf())

    def __reduce__(self) -> tuple[type["MemoryStore"], tuple[Uri]]:
        return MemoryStore, (self._uri,)

    def create(self, key: str, content: bytes) -> bool:
        content, full = checked_content(key, content), self._full(key)
        with self._shelf.lock:
            if full in self._shelf.contents:
                return False
            self._shelf.contents[full] = bytes(content)
            return True

    def create_from(self, key: str, chunks: Iterable[bytes]) -> bool:
        return self.create(key, b"".join(chunks))

    def put(self, key: str, content: bytes) -> None:
        with self._shelf.lock:
            self._shelf.contents[self._full(key)] = bytes(content)

    def get(self, key: str) -> bytes:
        try:
            return self._shelf.contents[self._full(key)]
        except KeyError:
            raise NotFound(f"{self.uri}/{key} does not exist") from None

    def get_range(self, key: str, start: int, end: int, *, etag: str | None = None) -> bytes:
        return self._version(key, etag)[start:end]

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        return io.BytesIO(self._version(key, etag))

    def head(self, key: str) -> ObjectInfo:
        content = self.get(key)
        return ObjectInfo(key, len(content), _etag(content))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        root = f"{self._uri.path}/" if self._uri.path else ""
        with self._shelf.lock:
            found = sorted((key, content) for key, content in self._shelf.contents.items() if key.startswith(root))
        for full, content in found:
            key = full[len(root) :]
            if key.startswith(prefix):
                yield ObjectInfo(key, len(content), _etag(content))

    def keys(self, prefix: str) -> Iterator[str]:
        return (found.key for found in self.list(prefix))

    def delete(self, key: str) -> None:
        with self._shelf.lock:
            self._shelf.contents.pop(self._full(key), None)

    def _full(self, key: str) -> str:
        key = checked_key(self.uri, key)
        return f"{self._uri.path}/{key}" if self._uri.path else key

    def _version(self, key: str, etag: str | None) -> bytes:
        content = self.get(key)
        if etag is not None and etag != _etag(content):
            raise Changed(f"{self.uri}/{key} changed: expected version {etag}, found {_etag(content)}")
        return content


def _etag(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
