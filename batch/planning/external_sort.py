"""Sorting more than memory holds: a private SQLite database that spills to a temporary file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from batch.errors import JobFailed

_CACHE_KIB = 4096
_WAITING_ROWS = 2000
_WAITING_BYTES = 4 << 20
_STEPS_BEFORE_HEED = 100_000
"""Of SQLite's machine: some milliseconds."""


class PrivateTable:
    """A table on disk that is gone when closed, filled in one transaction. A context manager; not for several threads.

    `columns`: as SQL declares them. `heed` is called every now and then, and what it raises breaks off a sort.
    Leaving it raises JobFailed where the disk was full.
    """

    def __init__(self, *columns: str, heed: Callable[[], object] = lambda: None) -> None:
        self._heed = heed
        self._broken_off: Exception | None = None
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.set_progress_handler(self._is_broken_off, _STEPS_BEFORE_HEED)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "temp_store=FILE", f"cache_size=-{_CACHE_KIB}"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(f"CREATE TABLE entries ({', '.join(columns)})")
        self._database.execute("BEGIN")
        self._insert = f"INSERT INTO entries VALUES ({', '.join('?' * len(columns))})"
        self._waiting: list[tuple[object, ...]] = []
        self._waiting_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
        if self._broken_off is not None:
            raise self._broken_off from None
        if isinstance(error, sqlite3.OperationalError):
            raise JobFailed(
                f"sorting needs about as much room in the temporary folder as is sorted: {error}; SQLITE_TMPDIR names "
                "another folder, and --no-order-by-prefix sorts no lines"
            ) from error

    def _is_broken_off(self) -> bool:
        """SQLite asks this, and takes no exception for an answer."""
        try:
            self._heed()
        except Exception as error:  # noqa: BLE001 - it goes on when the table is left
            self._broken_off = error
        return self._broken_off is not None

    def _take(self, *entry: object, size_bytes: int = 0) -> None:
        """Insert a row, with some others at a time."""
        self._waiting.append(entry)
        self._waiting_bytes += size_bytes
        if len(self._waiting) >= _WAITING_ROWS or self._waiting_bytes >= _WAITING_BYTES:
            self._store()

    def _select(self, query: str) -> sqlite3.Cursor:
        self._store()
        return self._database.execute(query)

    def _store(self) -> None:
        self._database.executemany(self._insert, self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0


class SpillSort(PrivateTable):
    """Takes (key, number, content) in any order and any quantity, and gives them back sorted by key, then number."""

    def __init__(self, heed: Callable[[], object] = lambda: None) -> None:
        super().__init__("key BLOB NOT NULL", "number INTEGER NOT NULL", "content BLOB NOT NULL", heed=heed)

    def add(self, key: bytes, number: int, content: bytes) -> None:
        """Take an entry; `number` below 2**63."""
        self._take(key, number, content, size_bytes=len(content))

    def sorted(self) -> Iterator[tuple[int, bytes]]:
        """Return number and content of all entries."""
        return self._select("SELECT number, content FROM entries ORDER BY key, number")
