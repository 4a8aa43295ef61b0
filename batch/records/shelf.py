"""Records of any kind by their keys in a store: written once, or overwritten, and read back strictly.

Knows nothing of what they mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from batch.records.objects import decode_record, encode_record
from connectors.errors import NotFound
from connectors.stores.store import Store, create_once

T = TypeVar("T")


class Shelf:
    """The records of one store. Several threads may share one. CorruptRecord for what is no record of its kind."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def create(self, key: str, record: T) -> T:
        """Write once; the record that stands: this one or an earlier one."""
        return decode_record(type(record), create_once(self.store, key, encode_record(record)), key=key)

    def put(self, key: str, record: object) -> None:
        """Write, whatever stands there."""
        self.store.put(key, encode_record(record))

    def get(self, kind: type[T], key: str) -> T | None:
        """The record; None where there is none."""
        try:
            return decode_record(kind, self.store.get(key), key=key)
        except NotFound:
            return None

    def keys(self, prefix: str) -> Iterator[str]:
        """The keys that begin so, sorted."""
        return self.store.keys(prefix)

    def all(self, kind: type[T], prefix: str) -> Iterator[T]:
        """Every record whose key begins so, by key."""
        found = (self.get(kind, key) for key in list(self.store.keys(prefix)))
        return (record for record in found if record is not None)

    def delete(self, key: str) -> None:
        """Remove; absent is fine."""
        self.store.delete(key)
