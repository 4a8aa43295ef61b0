"""A store that fails on demand: at the k-th operation, in one way. What it wraps is the real thing."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import BinaryIO, TypeVar, cast

from connectors.errors import Unavailable
from connectors.stores.store import ObjectInfo, Store

T = TypeVar("T")


class Crash(BaseException):
    """The process died here. A BaseException, so that no `except Exception` survives it."""


class Kind(Enum):
    CRASH_BEFORE = "the process dies, the store saw nothing"
    CRASH_AFTER = "the process dies, the store did it"
    LOST_ACK = "a create is done, and the client's own retry meets its object"
    UNAVAILABLE_BEFORE = "an error, the store saw nothing"
    UNAVAILABLE_AFTER = "an error, the store did it"
    PAUSE = "the process stands still while others go on"


class Verb(Enum):
    CREATE = "create"
    PUT = "put"
    DELETE = "delete"
    GET = "get"
    HEAD = "head"
    LIST = "list"

    @property
    def writes(self) -> bool:
        return self in (Verb.CREATE, Verb.PUT, Verb.DELETE)


class Wrapped:
    """A store around another: every operation passes `_do`."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner
        self.uri = inner.uri
        self.etag_is_checksum = inner.etag_is_checksum

    def create(self, key: str, content: bytes) -> bool:
        return self._do(Verb.CREATE, key, lambda: self.inner.create(key, content))

    def create_from(self, key: str, chunks: Iterable[bytes]) -> bool:
        return self._do(Verb.CREATE, key, lambda: self.inner.create_from(key, chunks))

    def put(self, key: str, content: bytes) -> None:
        self._do(Verb.PUT, key, lambda: self.inner.put(key, content))

    def get(self, key: str) -> bytes:
        return self._do(Verb.GET, key, lambda: self.inner.get(key))

    def get_range(self, key: str, start: int, end: int, *, etag: str | None = None) -> bytes:
        return self._do(Verb.GET, key, lambda: self.inner.get_range(key, start, end, etag=etag))

    def open(self, key: str, *, etag: str | None = None) -> BinaryIO:
        return self._do(Verb.GET, key, lambda: self.inner.open(key, etag=etag))

    def head(self, key: str) -> ObjectInfo:
        return self._do(Verb.HEAD, key, lambda: self.inner.head(key))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        return self._do(Verb.LIST, prefix, lambda: iter(list(self.inner.list(prefix))))

    def keys(self, prefix: str) -> Iterator[str]:
        return self._do(Verb.LIST, prefix, lambda: iter(list(self.inner.keys(prefix))))

    def delete(self, key: str) -> None:
        self._do(Verb.DELETE, key, lambda: self.inner.delete(key))

    def _do(self, verb: Verb, key: str, operation: Callable[[], T]) -> T:
        return operation()


def struck(kind: Kind | None, verb: Verb, operation: Callable[[], T], *, pause: Callable[[], object]) -> T:
    """Do the operation as the fault has it."""
    if kind is Kind.CRASH_BEFORE:
        raise Crash
    if kind is Kind.UNAVAILABLE_BEFORE:
        raise Unavailable("on demand, before")
    if kind is Kind.PAUSE:
        pause()
    answer = operation()
    if kind is Kind.CRASH_AFTER:
        raise Crash
    if kind is Kind.UNAVAILABLE_AFTER:
        raise Unavailable("on demand, after")
    if kind is Kind.LOST_ACK and verb is Verb.CREATE:
        return cast(T, False)
    return answer


@dataclass(frozen=True, slots=True)
class Fault:
    """`at`: the operation that is hit, the first one is 1. `meanwhile`: what happens during a pause."""

    kind: Kind
    at: int
    meanwhile: Callable[[], object] = lambda: None


class FaultStore(Wrapped):
    """`operations` counts what was asked; `was_hit` says whether the fault came up."""

    def __init__(self, inner: Store, fault: Fault | None = None) -> None:
        super().__init__(inner)
        self.operations = 0
        self.was_hit = False
        self._fault = fault
        self._lock = threading.Lock()

    def _do(self, verb: Verb, key: str, operation: Callable[[], T]) -> T:
        with self._lock:
            self.operations += 1
            fault = self._fault if self._fault is not None and self._fault.at == self.operations else None
            self.was_hit = self.was_hit or fault is not None
        if fault is None:
            return operation()
        return struck(fault.kind, verb, operation, pause=fault.meanwhile)
