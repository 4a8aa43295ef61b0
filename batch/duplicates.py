"""Finding ids that are used twice, among any number of them, in bounded memory.

Knows nothing of what the ids are for.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from types import TracebackType
from typing import Self

_CACHE_KIB = 4096
_WAITING_IDS = 2000
_LINE_BITS = 40

_SECOND_USES = """
    SELECT place FROM (SELECT place, row_number() OVER (PARTITION BY digest ORDER BY place) AS use FROM ids)
    WHERE use > 1 ORDER BY place
"""


class DuplicateScan:
    """Takes ids with the place of each, then tells the places of second and later uses.

    Keeps 16-byte digests in a table that spills to a temporary file, sorted once at the end: appending costs the same
    for the first million and for the hundredth, which inserting into an index does not. Not for several threads.
    """

    def __init__(self) -> None:
        self._table = sqlite3.connect("", isolation_level=None)  # "": private, on disk, gone when closed
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "temp_store=FILE", f"cache_size=-{_CACHE_KIB}"):
            self._table.execute(f"PRAGMA {pragma}")
        self._table.execute("CREATE TABLE ids (digest BLOB NOT NULL, place INTEGER NOT NULL)")
        self._table.execute("BEGIN")
        self._waiting: list[tuple[bytes, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.close()

    def add(self, custom_id: str, file: int, line: int) -> None:
        """Take the id that stands in this line of this file. About 2 us, all counted."""
        digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
        self._waiting.append((digest, file << _LINE_BITS | line))
        if len(self._waiting) >= _WAITING_IDS:
            self._store()

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Yield (file, line) of each use that is not the first one, ascending."""
        self._store()
        for (place,) in self._table.execute(_SECOND_USES):
            yield place >> _LINE_BITS, place & ((1 << _LINE_BITS) - 1)

    def _store(self) -> None:
        self._table.executemany("INSERT INTO ids VALUES (?, ?)", self._waiting)
        self._waiting.clear()
