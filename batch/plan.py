"""The plan: which lines of which files make the shards of a job, made once and stored.

Every attempt works on the stored plan. Knows nothing of engines and attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, replace

import orjson

from batch.duplicates import DuplicateScan
from batch.errors import InputChanged, JobFailed, UsageError
from batch.request import Decoder
from batch.spec import JobSpec
from connectors.errors import Changed, InputError, NotFound
from connectors.inputs import InputFile, Piece, find_inputs, scan
from connectors.lines import Line

FORMAT = 1
PROGRESS_LINES = 10_000
MIN_SHARD_BYTES, MAX_SHARD_BYTES = 32 * 2**10, 16 * 2**20
# Shards enough that the last ones to finish leave no engine idle for long.
_SHARDS_PER_REPLICA = 16

Lines = Iterator[tuple[int, Line]]  # with the position of each line's end


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """One input file as it was when planned; `etag` identifies that content."""

    uri: str
    size_bytes: int
    etag: str
    format: str
    lines: int
    blank: int

    @property
    def file(self) -> InputFile:
        """The file, to be read as it was."""
        return InputFile(uri=self.uri, size_bytes=self.size_bytes, etag=self.etag, format=self.format)


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work and of commit: a piece of `inputs[input]`, with the line numbers that repeat a custom_id.

    `only`: the line numbers of the piece that are run; empty: every line that is not blank.
    """

    index: int
    input: int
    piece: Piece
    duplicates: tuple[int, ...] = ()
    only: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows are run."""
        return len(self.only) or self.piece.rows

    def rows_among(self, lines: Iterable[Line]) -> list[Line]:
        """Those of the piece's lines that are run."""
        only = frozenset(self.only)
        return [line for line in lines if (line.number in only if only else not line.is_blank)]


@dataclass(frozen=True, slots=True)
class Continuation:
    """What a job took over of the rows of the one it continues.

    Of those `succeeded` have their result there, `retried` are this job's, and `left_by_code` stay failed.
    """

    job_id: str
    output: str
    succeeded: int
    retried: int
    left_by_code: dict[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """All shards of a job, in input order: together they hold every line to run once.

    That is every non-blank line; of a job that continues another, the lines it took over, and `inputs` count those.
    """

    inputs: tuple[PlannedInput, ...]
    shards: tuple[Shard, ...]
    continued_from: Continuation | None = None

    @property
    def lines(self) -> int:
        return sum(planned.lines for planned in self.inputs)

    @property
    def blank(self) -> int:
        return sum(planned.blank for planned in self.inputs)

    @property
    def rows(self) -> int:
        return self.lines - self.blank

    def end(self, rows: int) -> int:
        """Return the index of the first of the last shards, those that hold the last `rows` rows."""
        first = len(self.shards)
        while first and rows > 0:
            first -= 1
            rows -= self.shards[first].rows
        return first


def make_plan(spec: JobSpec, on_progress: Callable[[int], None] = lambda _: None, max_replicas: int = 1) -> Plan:
    """Read every input once and cut it into shards; memory is bounded by the plan, not by the inputs.

    `on_progress` gets the number of lines read so far. The same inputs give the same plan. Raises UsageError for an
    input that is not there or of no known format, InputChanged for one that changes while it is read.
    """
    files = _find(spec.inputs)
    max_bytes = _max_shard_bytes(files, max_replicas)
    progress = _Progress(on_progress)
    inputs, shards = [], []
    with DuplicateScan() as ids:
        decoder = Decoder(spec)
        for index, file in enumerate(files):
            lines = _with_ids_noted(_scan(spec, file), index, decoder, ids)
            pieces = list(cut(progress.counted(lines), max_rows=spec.shard_rows, max_bytes=max_bytes))
            inputs.append(_planned(file, pieces))
            shards += [Shard(0, index, piece) for piece in pieces if piece.rows]
        progress.end()
        return Plan(tuple(inputs), tuple(_with_duplicates(shards, ids.repeated())))


def cut(lines: Iterable[tuple[int, Line]], *, max_rows: int, max_bytes: int) -> Iterator[Piece]:
    """Yield pieces that hold every line once, each with at most so many rows and bytes, but with one row at least.

    Blank lines go with the row before them; a file of nothing else is one piece without rows.
    """
    start, end, first_line, in_piece, rows, size_bytes = 0, 0, 1, 0, 0, 0
    for line_end, line in lines:
        if not line.is_blank:
            line_bytes = len(line.raw) + 1
            if rows and (rows >= max_rows or size_bytes + line_bytes > max_bytes):
                yield Piece(start, end, first_line, in_piece, rows)
                start, first_line, in_piece, rows, size_bytes = end, line.number, 0, 0, 0
            rows += 1
            size_bytes += line_bytes
        in_piece += 1
        end = line_end
    if in_piece:
        yield Piece(start, end, first_line, in_piece, rows)


def read_lines(spec: JobSpec, planned: PlannedInput) -> Iterator[Line]:
    """Yield every line of a planned input. Raises InputChanged."""
    for _, line in _scan(spec, planned.file):
        yield line


def encode_plan(plan: Plan) -> bytes:
    """Return the plan as JSON, some 40 bytes for a shard and 8 for a line number; `decode_plan` reads it back."""
    stored = {
        "format": FORMAT,
        "inputs": [astuple(planned) for planned in plan.inputs],
        "shards": [
            [shard.input, *astuple(shard.piece), shard.duplicates, *([shard.only] if shard.only else [])]
            for shard in plan.shards
        ],
    }
    if plan.continued_from is not None:
        stored["continued_from"] = asdict(plan.continued_from)
    return orjson.dumps(stored)


def decode_plan(encoded: bytes) -> Plan:
    """Read a plan that `encode_plan` wrote. Raises JobFailed for another format or what is no plan."""
    try:
        stored = orjson.loads(encoded)
        if stored["format"] != FORMAT:
            raise JobFailed(f"the stored plan has format {stored['format']!r}, this batchctl reads {FORMAT}")
        inputs = tuple(PlannedInput(*values) for values in stored["inputs"])
        shards = tuple(
            Shard(index, number, Piece(*piece), *map(tuple, line_numbers))
            for index, (number, piece, line_numbers) in enumerate((s[0], s[1:6], s[6:]) for s in stored["shards"])
        )
        continued_from = Continuation(**stored["continued_from"]) if "continued_from" in stored else None
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise JobFailed(f"the stored plan is damaged: {error}") from None
    return Plan(inputs, shards, continued_from)


def _find(patterns: Sequence[str]) -> list[InputFile]:
    try:
        return find_inputs(patterns)
    except (NotFound, InputError) as error:
        raise UsageError(str(error)) from error


def _scan(spec: JobSpec, file: InputFile) -> Lines:
    try:
        yield from scan(file, max_line_bytes=spec.max_line_bytes)
    except (Changed, NotFound) as error:
        raise InputChanged(f"input {file.uri} changed after it was found: {error}") from error


def _max_shard_bytes(files: Iterable[InputFile], max_replicas: int) -> int:
    share = sum(file.size_bytes for file in files) // (_SHARDS_PER_REPLICA * max(1, max_replicas))
    return min(max(share, MIN_SHARD_BYTES), MAX_SHARD_BYTES)


def _with_ids_noted(lines: Lines, index: int, decoder: Decoder, ids: DuplicateScan) -> Lines:
    for end, line in lines:
        if not line.is_blank:
            custom_id = decoder.custom_id(line)
            if custom_id is not None:
                ids.add(custom_id, index, line.number)
        yield end, line


class _Progress:
    """Counts the lines of all files that pass."""

    def __init__(self, on_progress: Callable[[int], None]) -> None:
        self._on_progress = on_progress
        self._lines = 0

    def counted(self, lines: Lines) -> Lines:
        for end_and_line in lines:
            self._lines += 1
            if self._lines % PROGRESS_LINES == 0:
                self._on_progress(self._lines)
            yield end_and_line

    def end(self) -> None:
        self._on_progress(self._lines)


def _planned(file: InputFile, pieces: Iterable[Piece]) -> PlannedInput:
    lines = sum(piece.lines for piece in pieces)
    blank = lines - sum(piece.rows for piece in pieces)
    return PlannedInput(file.uri, file.size_bytes, file.etag, file.format, lines, blank)


def _with_duplicates(shards: Iterable[Shard], repeated: Iterator[tuple[int, int]]) -> Iterator[Shard]:
    """Yield the shards, numbered, each with its own of the repeated (input, line), which ascend as the shards do."""
    waiting = next(repeated, None)
    for index, shard in enumerate(shards):
        last = (shard.input, shard.piece.first_line + shard.piece.lines - 1)
        duplicates = []
        while waiting is not None and waiting <= last:
            duplicates.append(waiting[1])
            waiting = next(repeated, None)
        yield replace(shard, index=index, duplicates=tuple(duplicates))
