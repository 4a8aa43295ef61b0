"""Shards: which lines are run and committed together, and which neighbours share one. Pure.

Knows nothing of files' contents and of who runs a shard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from connectors.datasets.reader import Piece

USUAL_MOST_SHARDS = 1000
"""Shards of a job too large for shards of `shard_rows`: so many, if their bytes allow it."""


@dataclass(frozen=True, slots=True)
class Span:
    """The lines of a shard that are of one file: a piece of the plan's `inputs[input]`.

    `duplicates`: the line numbers that repeat a custom_id. `only`: the line numbers that are run; empty: every line
    that is not blank.
    """

    input: int
    piece: Piece
    duplicates: tuple[int, ...] = ()
    only: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows are run."""
        return len(self.only) or self.piece.rows

    @property
    def end_line(self) -> int:
        """The number of the line after the last one."""
        return self.piece.first_line + self.piece.lines


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work and of commit: spans of one file or, where files are small, of several, in input order.

    `copy`: the piece of the only span is one of the plan's copies, so numbered, which holds lines of the input in
    another order.
    """

    index: int
    spans: tuple[Span, ...]
    copy: int | None = None

    @property
    def rows(self) -> int:
        """How many rows are run."""
        return sum(span.rows for span in self.spans)


@dataclass(frozen=True, slots=True)
class Cut:
    """A span as the inputs were cut, and how many bytes its lines have."""

    span: Span
    size_bytes: int


def max_lines(job_rows: int, shard_rows: int) -> int:
    """Return how many lines a shard may hold in a job of so many rows: more where `shard_rows` makes too many."""
    return max(shard_rows, -(-job_rows // USUAL_MOST_SHARDS))


def join(cuts: Iterable[Cut], *, max_lines: int, max_bytes: int, alone: Collection[int]) -> Iterator[Shard]:
    """Yield shards of as many neighbours as may be together; a span alone may hold more.

    A file that is in `alone` shares no shard with another one.
    """
    index, spans, lines, size_bytes = 0, list[Span](), 0, 0
    for cut in cuts:
        is_full = lines + cut.span.piece.lines > max_lines or size_bytes + cut.size_bytes > max_bytes
        if spans and (is_full or _must_part(spans[-1], cut.span, alone)):
            yield Shard(index, tuple(spans))
            index, spans, lines, size_bytes = index + 1, [], 0, 0
        lines += cut.span.piece.lines
        size_bytes += cut.size_bytes
        if spans and _continues(spans[-1], cut.span):
            spans[-1] = _joined(spans[-1], cut.span)
        else:
            spans.append(cut.span)
    if spans:
        yield Shard(index, tuple(spans))


def with_duplicates(shards: Iterable[Shard], repeated: Iterator[tuple[int, int]]) -> Iterator[Shard]:
    """Yield the shards, each span with its own of the repeated (input, line), which ascend as the spans do."""
    waiting = next(repeated, None)
    for shard in shards:
        spans = []
        for span in shard.spans:
            duplicates = []
            while waiting is not None and waiting < (span.input, span.end_line):
                duplicates.append(waiting[1])
                waiting = next(repeated, None)
            spans.append(replace(span, duplicates=tuple(duplicates)) if duplicates else span)
        yield replace(shard, spans=tuple(spans))


def _must_part(last: Span, following: Span, alone: Collection[int]) -> bool:
    return last.input != following.input and (last.input in alone or following.input in alone)


def _continues(last: Span, following: Span) -> bool:
    return last.input == following.input and last.piece.end == following.piece.start


def _joined(last: Span, following: Span) -> Span:
    one, two = last.piece, following.piece
    piece = Piece(one.start, two.end, one.first_line, one.lines + two.lines, one.rows + two.rows)
    return Span(last.input, piece)
