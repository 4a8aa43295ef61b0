"""The parts of a job's output, and copies of its lines: bytes that records name and vouch for.

Knows nothing of records.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from batch import layout
from batch.errors import JobFailed
from batch.jobs.damage import find_damage
from batch.jobs.own_objects import OwnObjects
from batch.layout import PartKind
from batch.records.objects import OutputParts, Part
from batch.records.parts import JSONL, MAX_PART_BYTES, decode_part, encode_part, in_parts
from batch.spec.job_spec import PartFormat
from connectors.datasets.reader import COPY, InputFile
from connectors.stores.store import Store


class PartStore:
    """Several threads may share one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._own = OwnObjects(store)

    @property
    def uri(self) -> str:
        """The output URI."""
        return self._store.uri

    def write_copy(self, content: bytes) -> InputFile:
        """Store lines in another order than their file's, for a plan to name; the file that they are now."""
        key = layout.copy(hashlib.sha256(content).hexdigest()[:32])
        self._write_whole(key, content)
        found = self._store.head(key)
        return InputFile(f"{self.uri}/{key}", found.size_bytes, found.etag, COPY)

    def write_part(
        self, kind: PartKind, shard: int, *, attempt: str, lines: Sequence[bytes], part_format: PartFormat = JSONL
    ) -> Part:
        """Write a whole part, one line each, and check its size. It is not read before a commit names it.

        `attempt` must be unique to this try at the shard: JobFailed when other bytes stand at the key.
        """
        if not lines:
            raise ValueError(f"shard {shard}: a part needs at least one line; commit None instead")
        key = layout.part(kind, shard, attempt, part_format.name)
        content = encode_part(lines, part_format)
        self._write_whole(key, content)
        found = self._store.head(key)
        if found.size_bytes != len(content):
            raise JobFailed(
                f"{self.uri}/{key}: wrote {len(content)} bytes, the store holds {found.size_bytes}; run again"
            )
        return Part(key, len(lines), len(content), hashlib.sha256(content).hexdigest(), found.etag)

    def write_parts(
        self,
        shard: int,
        *,
        attempt: str,
        results: Sequence[bytes],
        errors: Sequence[bytes],
        part_format: PartFormat,
    ) -> OutputParts:
        """Write a shard's lines as `write_part` does, in as many parts of each kind as they need."""
        write = partial(self.write_part, shard=shard, part_format=part_format)

        def written(kind: PartKind, lines: Sequence[bytes]) -> Iterator[Part]:
            for number, some in enumerate(in_parts(lines, MAX_PART_BYTES)):
                yield write(kind, attempt=layout.further(attempt, number), lines=some)

        return OutputParts(tuple(written("results", results)), tuple(written("errors", errors)))

    def discard(self, parts: Sequence[Part]) -> None:
        """Delete parts that no commit names, nor ever will: another attempt has committed their shard."""
        for part in parts:
            self._store.delete(part.key)

    def lines_of(self, part: Part) -> Iterator[bytes]:
        """The lines of one part, without newline. JobFailed when they are not those that were committed."""
        content = self._store.get(part.key)
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise JobFailed(f"{self.uri}/{part.key}: the bytes differ from the committed sha256 {part.sha256}")
        lines = list(decode_part(content, part.key))
        if len(lines) != part.rows:
            raise JobFailed(f"{self.uri}/{part.key}: it holds {len(lines)} lines, the ledger counts {part.rows}")
        return iter(lines)

    def damage(self, parts: Iterable[Part], *, thorough: bool) -> Iterator[tuple[Part, str]]:
        """The parts that are not there as they were written, and what is wrong with each; see `batch.jobs.damage`."""
        return find_damage(self._store, parts, thorough=thorough)

    def _write_whole(self, key: str, content: bytes) -> None:
        """Write what no record can be in, whose key is its own. JobFailed when other bytes stand there."""
        if not self._own.create_bare(key, content) and self._store.get(key) != content:
            raise JobFailed(f"{self.uri}/{key}: other bytes stand there; its name is not unique")
