"""Finding ids that are used twice, among any number of them, in bounded memory.

Knows nothing of what the ids are for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from batch.planning.external_sort import PrivateTable

_LINE_BITS = 40

_SECOND_USES = """
    SELECT place FROM (SELECT place, row_number() OVER (PARTITION BY digest ORDER BY place) AS use FROM entries)
    WHERE use > 1 ORDER BY place
"""


class DuplicateScan(PrivateTable):
    """Takes ids with the place of each, then tells the places of second and later uses.

    Keeps 16-byte digests in a table that spills to a temporary file, sorted once at the end: appending costs the same
    for the first million and for the hundredth, which inserting into an index does not.
    """

    def __init__(self, heed: Callable[[], object] = lambda: None) -> None:
        super().__init__("digest BLOB NOT NULL", "place INTEGER NOT NULL", heed=heed)

    def add(self, custom_id: str, file: int, line: int) -> None:
        """Take the id that stands in this line of this file. About 2 us, all counted."""
        digest = hashlib.blake2b(custom_id.encode(), digest_size=16).digest()
        self._take(digest, file << _LINE_BITS | line)

    def repeated(self) -> Iterator[tuple[int, int]]:
        """Yield (file, line) of each use that is not the first one, ascending."""
        for (place,) in self._select(_SECOND_USES):
            yield place >> _LINE_BITS, place & ((1 << _LINE_BITS) - 1)
