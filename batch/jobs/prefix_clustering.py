"""Rows that share a prefix, brought together across a whole file: copied in that order before they are run, and their
results put back into the file's order after. For files where engines would else compute much of a prompt many times.

Sorts on disk, so that memory does not grow with the rows. Knows nothing of engines but their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TypeVar

import orjson

from batch.jobs.store import JobStore
from batch.planning.external_sort import SpillSort
from batch.planning.plan import Plan, max_shard_bytes, read_lines
from batch.planning.prefixes import PromptReader, sort_key
from batch.planning.shard_rows import read_rows
from batch.planning.shards import Shard, Span, max_lines
from batch.records.manifest import LedgerOpen
from batch.records.objects import Commit, OutputParts
from batch.result import row_id
from batch.rows.columns import needed_columns
from batch.spec.job_spec import JobSpec
from connectors.datasets.line_copies import encode_line
from connectors.datasets.reader import InputFile, Piece, PieceReader

AT_ONCE = 8
"""Shards that are read or written together, each of which may be in memory."""

_RESULT, _ERROR = b"r", b"e"

Item = TypeVar("Item")
Made = TypeVar("Made")


def cluster_by_prefix(job: JobStore, plan: Plan, *, engines: int, heed: Callable[[], object] = lambda: None) -> Plan:
    """Return the plan with shards of rows that share a prefix, where that saves enough; else the plan as it is.

    Copies the lines of such files into the job; what `heed` raises breaks it off. Raises InputChanged.
    """
    scattered = {index for index, planned in enumerate(plan.inputs) if planned.is_scattered}
    if not scattered:
        return plan
    spec = job.spec()
    max_bytes = max_shard_bytes(sum(planned.size_bytes for planned in plan.inputs), engines)
    rows_at_most, repeated_lines = max_lines(plan.rows, spec.shard_rows), plan.repeated_lines()
    copies: list[InputFile] = []
    of_copies: list[Shard] = []
    with ThreadPoolExecutor(AT_ONCE) as writers:
        for index in sorted(scattered):
            rows = _by_beginning(spec, plan, index, heed)
            runs = _runs(rows, max_rows=rows_at_most, max_bytes=max_bytes)
            repeated = repeated_lines.get(index, set())
            for copy, numbers in _mapped(writers, lambda run: (job.write_copy(run.content), run.numbers), runs):
                piece = Piece(0, copy.size_bytes, 0, len(numbers), len(numbers))
                duplicates = tuple(number for number in numbers if number in repeated)
                of_copies.append(Shard(0, (Span(index, piece, duplicates),), copy=len(copies)))
                copies.append(copy)
                heed()
    as_they_are = (shard for shard in plan.shards if shard.spans[0].input not in scattered)
    shards = enumerate(chain(as_they_are, deal(of_copies, engines)))
    numbered = tuple(replace(shard, index=index) for index, shard in shards)
    return replace(plan, shards=numbered, copies=tuple(copies), in_input_order=plan.shards)


def deal(items: Sequence[Item], hands: int) -> Iterator[Item]:
    """Yield the items so that each of so many hands that take turns gets neighbours."""
    share, more = divmod(len(items), hands)
    starts = [hand * share + min(hand, more) for hand in range(hands)]
    for at in range(share):
        yield from (items[start + at] for start in starts)
    yield from (items[start + share] for start in starts[:more])


def in_input_order(job: JobStore, plan: Plan, commits: Mapping[int, Commit], *, attempt: str) -> OutputParts:
    """Write the results of a plan with copies again, in the order of the inputs; return the parts.

    `attempt` must be unique to this try. Raises LedgerOpen for a row without a result or with two.
    """
    committed = {shard.spans: commits[shard.index] for shard in plan.shards if shard.copy is None}
    with SpillSort() as lines, ThreadPoolExecutor(AT_ONCE) as pool:
        copied = (shard for shard in plan.shards if shard.copy is not None)
        for settled in _mapped(pool, lambda shard: _settled(job, plan, shard, commits[shard.index]), copied):
            for index, number, line in settled:
                lines.add(index.to_bytes(4), number, line)
        in_order = lines.sorted()

        def taken() -> Iterator[Commit | _Lines]:
            for shard in plan.in_input_order:
                there = committed.get(shard.spans)
                yield there or _Lines(shard, list(islice(in_order, shard.rows)))

        def parts(source: Commit | _Lines) -> OutputParts:
            return source.output if isinstance(source, Commit) else source.write(job, attempt)

        written = list(_mapped(pool, parts, taken()))
        if next(in_order, None) is not None:
            raise LedgerOpen("the shards' parts hold more rows than the inputs")
    return OutputParts.joined(written)


@dataclass(frozen=True, slots=True)
class _Run:
    """Encoded lines of one shard, and their numbers in the file."""

    content: bytes
    numbers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Lines:
    """What an output shard's parts are to hold: (line number, kind and line), ascending."""

    shard: Shard
    lines: list[tuple[int, bytes]]

    def write(self, job: JobStore, attempt: str) -> OutputParts:
        (span,), numbers = self.shard.spans, {number for number, _ in self.lines}
        expected = range(span.piece.first_line, span.end_line)
        if len(numbers) != self.shard.rows or not numbers.issubset(expected):
            raise LedgerOpen(
                f"lines {expected[0]} to {expected[-1]} of input {span.input} hold {span.rows} rows, "
                f"{len(numbers)} have a result"
            )
        results, errors = ([line[1:] for _, line in self.lines if line[:1] == kind] for kind in (_RESULT, _ERROR))
        return job.write_parts(
            self.shard.index, attempt=attempt, results=results, errors=errors, part_format=job.spec().part_format
        )


def _by_beginning(spec: JobSpec, plan: Plan, index: int, heed: Callable[[], object]) -> Iterator[tuple[int, bytes]]:
    """Yield number and encoded line of each row of an input, those that share a prefix one after another."""
    planned, beginnings = plan.inputs[index], PromptReader(spec)
    with SpillSort(heed) as rows:
        for line in read_lines(spec, planned, heed):
            if not line.is_blank:
                rows.add(sort_key(beginnings.text(planned.uri, line)), line.number, encode_line(line))
        yield from rows.sorted()


def _runs(rows: Iterable[tuple[int, bytes]], *, max_rows: int, max_bytes: int) -> Iterator[_Run]:
    numbers: list[int] = []
    content = bytearray()
    for number, line in rows:
        if numbers and (len(numbers) >= max_rows or len(content) + len(line) > max_bytes):
            yield _Run(bytes(content), tuple(numbers))
            numbers, content = [], bytearray()
        numbers.append(number)
        content += line
    if numbers:
        yield _Run(bytes(content), tuple(numbers))


def _settled(job: JobStore, plan: Plan, shard: Shard, commit: Commit) -> list[tuple[int, int, bytes]]:
    """Return (input, line number, kind and line) of each row of a committed shard, each once. Raises LedgerOpen."""
    spec = job.spec()
    reader = PieceReader(max_line_bytes=spec.max_line_bytes, columns=needed_columns(spec))
    rows = read_rows(plan, shard, reader)
    lines = {row_id(spec.job_id, row.input, row.line.number): row for row in rows}
    settled = []
    for kind, part in commit.output.by_kind:
        for line in job.lines_of(part):
            row = lines.pop(orjson.loads(line)["id"], None)
            if row is None:
                raise LedgerOpen(f"shard {shard.index}: its parts hold a row that is not its own, or one twice")
            settled.append((row.input, row.line.number, (_RESULT if kind == "results" else _ERROR) + line))
    if lines:
        raise LedgerOpen(f"shard {shard.index}: {len(lines)} of its rows are in no part")
    return settled


def _mapped(pool: ThreadPoolExecutor, make: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Yield what is made of each item, in order, with no more than a few items and what is made of them in memory."""
    waiting = iter(items)
    while some := list(islice(waiting, AT_ONCE)):
        yield from pool.map(make, some)
