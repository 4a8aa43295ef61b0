"""Whether parts are still there as they were written: by name, size and digest. Knows nothing of jobs."""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

from batch import layout
from batch.records.objects import Part
from connectors.errors import Changed, NotFound
from connectors.stores.store import ObjectInfo, Store

READERS = 8
BLOCK_BYTES = 1 << 20


def find_damage(store: Store, parts: Iterable[Part], *, thorough: bool) -> Iterator[tuple[Part, str]]:
    """Yield each part that is not as it was written, with what is wrong: it is gone, cut, or holds other bytes.

    By two listings where the store's etag stands for the bytes. Others are read only when `thorough`, some at a time
    and a block each in memory.
    """
    listed = {
        found.key: found
        for prefix in (layout.RESULTS_PREFIX, layout.ERRORS_PREFIX)
        for found in store.list(prefix)
        if found.key.count("/") == 1
    }

    def problem(part: Part) -> str:
        return _problem(store, part, listed.get(part.key), thorough=thorough)

    with ThreadPoolExecutor(READERS) as readers:
        asked = list(parts)
        for part, found in zip(asked, readers.map(problem, asked), strict=True):
            if found:
                yield part, found


def _problem(store: Store, part: Part, found: ObjectInfo | None, *, thorough: bool) -> str:
    if found is None:
        return "is not there"
    if found.size_bytes != part.bytes:
        return f"holds {found.size_bytes:,} bytes, {part.bytes:,} were written"
    is_same_version = bool(part.etag) and part.etag == found.etag
    if not thorough or (is_same_version and store.etag_is_checksum):
        return ""
    try:
        digest = _digest(store, part.key)
    except (NotFound, Changed):
        return "was deleted or changed while it was read"
    return "" if digest == part.sha256 else f"holds other bytes than were written, whose sha256 was {part.sha256}"


def _digest(store: Store, key: str) -> str:
    digest = hashlib.sha256()
    with store.open(key) as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
