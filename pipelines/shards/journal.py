"""Answers kept between an engine and the commit of their shard, so that a crash repeats seconds of work, not shards.

A cache, never the truth: a segment that is damaged, lost or read twice can neither lose nor double a row, because a
shard's parts are written whole, one line for each of its rows. Knows nothing of engines and of Ray.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

import orjson
import zstandard

from batch.jobs.store import JobStore
from batch.planning.shard_rows import Row
from batch.result import Code, Usage, one_line
from pipelines.engines.base import Answer
from pipelines.shards.admission import KILLS_TO_CONVICT


@dataclass(frozen=True, slots=True)
class RowKey:
    """A row of a job: its shard and its number there. `digest`: of the raw line, hexadecimal."""

    shard: int
    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An engine's answer to one row."""

    row: RowKey
    answer: Answer


def row_key(shard: int, row: Row) -> RowKey:
    """Return the key of a row of a shard."""
    return RowKey(shard, row.number, hashlib.blake2b(row.line.raw, digest_size=8).hexdigest())


def encode_segment(kept: Sequence[KeptAnswer]) -> bytes:
    """Return one segment: a line for each answer, then a trailer with their number and checksum; zstd."""
    text = b"".join(_encode(answer) + b"\n" for answer in kept)
    trailer = orjson.dumps({"answers": len(kept), "crc32": zlib.crc32(text)})
    return zstandard.compress(text + trailer + b"\n")


def decode_segment(content: bytes) -> list[KeptAnswer]:
    """Return the answers of a segment; none when it is damaged."""
    try:
        text, _, trailer = zstandard.decompress(content)[:-1].rpartition(b"\n")
        text += b"\n"
        if orjson.loads(trailer) != {"answers": text.count(b"\n"), "crc32": zlib.crc32(text)}:
            return []
        return [_decode(line) for line in text[:-1].split(b"\n")]
    except (zstandard.ZstdError, orjson.JSONDecodeError):
        return []


@dataclass(frozen=True, slots=True)
class Past:
    """What earlier engines of a job left behind: their answers in shards without a commit, and what they died of.

    `deaths`: how many engines died while a row was in flight, by the row's name there. `unexplained_deaths`: engines
    that died of no row that was found.
    """

    answers: Mapping[RowKey, Answer] = field(default_factory=dict)
    deaths: Mapping[str, int] = field(default_factory=dict)
    unexplained_deaths: int = 0

    def answer(self, shard: int, row: Row) -> Answer | None:
        """The answer that a row was given before, if it is still the same line."""
        return self.answers.get(row_key(shard, row)) if self.answers else None


NO_PAST = Past()


def read_past(job: JobStore) -> Past:
    """Read the journal and the crashes of a job. The first answer to a row stands."""
    committed = job.committed_shards()
    answers: dict[RowKey, Answer] = {}
    for segment in job.journal():
        for kept in decode_segment(segment):
            if kept.row.shard not in committed:
                answers.setdefault(kept.row, kept.answer)
    beside = [crash.rows for crash in job.crashes()]
    deaths = Counter(chain.from_iterable(beside))
    unexplained = sum(all(deaths[name] < KILLS_TO_CONVICT for name in names) for names in beside)
    return Past(answers, deaths, unexplained)


def _encode(kept: KeptAnswer) -> bytes:
    row, answer, usage = kept.row, kept.answer, kept.answer.usage
    tokens = [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens]
    body = answer.body.decode()
    of_copies = [True] if answer.is_copy else []
    return orjson.dumps([row.shard, row.number, row.digest, answer.status_code, answer.code, tokens, body, *of_copies])


def _decode(line: bytes) -> KeptAnswer:
    shard, number, digest, status_code, code, tokens, body, *of_copies = orjson.loads(line)
    # Journals before bodies were compacted may hold some of several lines.
    content, failed = one_line(body.encode()), None if code is None else Code(code)
    answer = Answer(status_code, content, Usage(*tokens), failed, is_copy=any(of_copies))
    return KeptAnswer(RowKey(shard, number, digest), answer)
