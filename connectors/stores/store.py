"""The Store protocol: a few verbs over objects under one root. Knows nothing of what the objects mean."""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol, cast

from connectors.errors import Forbidden
from connectors.uri import key_problem

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

OPEN_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object. key is relative to the root of its store; etag identifies the version of the content.

    `modified_at_s`: when that version was written, in seconds of the store's own clock; None where nobody asked.
    """

    key: str
    size_bytes: int
    etag: str
    modified_at_s: float | None = field(default=None, compare=False)


class Store(Protocol):
    """Objects under one root. Safe for many threads, processes and machines at once; keys that leave it: Forbidden."""

    @property
    def uri(self) -> str:
        """Canonical address of the root."""

    @property
    def etag_is_checksum(self) -> bool:
        """Whether an object with the same etag certainly holds the same bytes: the store sums up what it keeps."""

    def create(self, key: str, content: bytes) -> bool:
        """Put if absent, atomically and durably. False: something stands there. ValueError if content is empty."""

    def create_from(self, key: str, chunks: Iterable[bytes]) -> bool:
        """As `create`, of content that comes in chunks and need not fit into memory; they are read once.

        What the chunks raise goes through, and nothing stands there then. ValueError when they hold no byte.
        """

    def put(self, key: str, content: bytes) -> None:
        """Overwrite atomically: a reader sees the old content or the new, never a part."""

    def get(self, key: str) -> bytes:
        """The whole content. Raises NotFound."""

    def get_range(self, key: str, start: int, end: int, *, etag: str | None = None) -> bytes:
        """Bytes [start, end), fewer where the object ends before. Raises NotFound, Changed when the etag differs."""

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        """A seekable buffered stream at the beginning. Raises NotFound, Changed (also while reading)."""

    def head(self, key: str) -> ObjectInfo:
        """Size, version and when it was written. Raises NotFound."""

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Every object whose key starts with the text `prefix`, at any depth, sorted by key."""

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that `list` finds, without a look at each object: one of them may be gone, or not be readable."""

    def delete(self, key: str) -> None:
        """Remove the object; absent is fine."""


def create_once(store: Store, key: str, content: bytes) -> bytes:
    """Create, and return the content that stands there: ours, also after a lost acknowledgement, or an earlier one."""
    return content if store.create(key, content) else store.get(key)


def checked_key(root: str, key: str) -> str:
    """The key, if it stays below its root. Raises Forbidden."""
    if problem := key_problem(key):
        raise Forbidden(f"key {key!r} refused in {root}: {problem}")
    return key


def checked_content(key: str, content: bytes) -> bytes:
    """The content, if it may be created. Raises ValueError: some stores cannot create an empty object safely."""
    if not content:
        raise ValueError(f"create of {key!r} needs a non-empty content")
    return content


def in_parts(chunks: Iterable[bytes], part_bytes: int) -> Iterator[bytes]:
    """The same bytes in parts of that size, the last one shorter; none of no bytes."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= part_bytes:
            yield bytes(held[:part_bytes])
            del held[:part_bytes]
    if held:
        yield bytes(held)


def pieces(store: Store, key: str, start: int, end: int) -> Iterator[bytes]:
    """Bytes [start, end) of an object, OPEN_BUFFER_BYTES at a time. Raises NotFound."""
    for at in range(start, end, OPEN_BUFFER_BYTES):
        yield store.get_range(key, at, min(at + OPEN_BUFFER_BYTES, end))


class RangeFile(io.RawIOBase):
    """A seekable stream made of range reads. Knows nothing of the store behind `read_range`."""

    def __init__(self, read_range: Callable[[int, int], bytes], size_bytes: int) -> None:
        self._read_range = read_range
        self._size_bytes = size_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        if origin + offset < 0:
            raise ValueError(f"cannot seek to {origin + offset}")
        self._position = origin + offset
        return self._position

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        end = min(self._position + len(view), self._size_bytes)
        if end <= self._position:
            return 0
        content = self._read_range(self._position, end)
        view[: len(content)] = content
        self._position += len(content)
        return len(content)

    def readall(self) -> bytes:
        # The inherited one reads 8 KiB a call, each a request.
        content = self._read_range(self._position, self._size_bytes) if self._position < self._size_bytes else b""
        self._position += len(content)
        return content

    def buffered(self) -> BinaryIO:
        """This stream behind a read buffer."""
        return cast(BinaryIO, io.BufferedReader(self, OPEN_BUFFER_BYTES))
