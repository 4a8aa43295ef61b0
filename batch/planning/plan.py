"""The plan: which lines of which files make the shards of a job, made once and stored.

Every attempt works on the stored plan. Knows nothing of engines and attempts.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict, astuple, dataclass, replace
from itertools import chain
from math import inf
from threading import Thread
from typing import Any

import orjson

from batch.errors import InputChanged, JobFailed, UsageError
from batch.planning.duplicate_ids import DuplicateScan
from batch.planning.input_files import find_inputs
from batch.planning.prefixes import PromptReader, Survey
from batch.planning.shards import Cut, Shard, Span, join, max_lines, with_duplicates
from batch.rows.columns import needed_columns
from batch.rows.request import Decoder
from batch.spec.job_spec import JobSpec
from connectors.datasets.lines import Line
from connectors.datasets.reader import InputFile, Piece, scan
from connectors.errors import Changed, InputError, NotFound

logger = logging.getLogger(__name__)

FORMAT = 1
FORMAT_WITH_COPIES = 2
FORMAT_WITH_SPANS = 3  # and with copies, where there are some
PROGRESS_LINES, PROGRESS_BYTES = 10_000, 64 << 20
HEED_S = 1.0
MIN_SHARD_BYTES, MAX_SHARD_BYTES = 32 * 2**10, 16 * 2**20
# Shards enough that the last ones to finish leave no engine idle for long.
_SHARDS_PER_REPLICA = 16
WORTH_A_COPY = 0.03
"""The share of a file's prompts that must be saved for its lines to be copied."""
_EXPANSION = 4
"""Bytes of text in a byte of a compressed file, about."""

Lines = Iterator[tuple[int, Line]]  # with the position of each line's end


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """One input file as it was when planned; `etag` identifies that content.

    Of its prompts' text, `saving` is the share that engines would compute less if rows that share a prefix followed
    each other in the whole file, and `alike` the share that is a prefix of other rows near by.
    """

    uri: str
    size_bytes: int
    etag: str
    format: str
    lines: int
    blank: int
    saving: float = 0.0
    alike: float = 1.0

    @property
    def is_scattered(self) -> bool:
        """Whether so much is saved that its lines are copied in another order."""
        return self.saving >= WORTH_A_COPY

    @property
    def file(self) -> InputFile:
        """The file, to be read as it was."""
        return InputFile(uri=self.uri, size_bytes=self.size_bytes, etag=self.etag, format=self.format)


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
    """All shards of a job, in the order in which they are run: together they hold every line to run once.

    That is every non-blank line; of a job that continues another, the lines it took over, and `inputs` count those.
    Shards run in input order, unless `copies` hold lines in another: then `in_input_order` is how the output is cut.
    """

    inputs: tuple[PlannedInput, ...]
    shards: tuple[Shard, ...]
    continued_from: Continuation | None = None
    copies: tuple[InputFile, ...] = ()
    in_input_order: tuple[Shard, ...] = ()

    @property
    def output_shards(self) -> tuple[Shard, ...]:
        """The shards that make the output's parts, in input order."""
        return self.in_input_order or self.shards

    @property
    def lines(self) -> int:
        return sum(planned.lines for planned in self.inputs)

    @property
    def blank(self) -> int:
        return sum(planned.blank for planned in self.inputs)

    @property
    def rows(self) -> int:
        return self.lines - self.blank

    @property
    def is_unread(self) -> bool:
        """Whether the job was stopped before its inputs were read to the end, so that it took none of their lines."""
        return not self.inputs

    def file_of(self, shard: Shard, span: Span) -> InputFile:
        """The file that a span of a shard is read from."""
        return self.inputs[span.input].file if shard.copy is None else self.copies[shard.copy]

    def rows_of_inputs(self) -> list[int]:
        """How many rows the shards run of each input."""
        rows = [0] * len(self.inputs)
        for span in chain.from_iterable(shard.spans for shard in self.shards):
            rows[span.input] += span.rows
        return rows

    def repeated_lines(self) -> dict[int, set[int]]:
        """Input -> the numbers of its lines that repeat a custom_id; inputs without such lines are left out."""
        repeated: dict[int, set[int]] = {}
        for span in chain.from_iterable(shard.spans for shard in self.shards):
            if span.duplicates:
                repeated.setdefault(span.input, set()).update(span.duplicates)
        return repeated

    def end(self, rows: int) -> int:
        """Return the index of the first of the last shards, those that hold the last `rows` rows."""
        first = len(self.shards)
        while first and rows > 0:
            first -= 1
            rows -= self.shards[first].rows
        return first


UNREAD = Plan((), ())
"""Of a job that was stopped before its inputs were read to the end."""


def make_plan(
    spec: JobSpec,
    on_progress: Callable[[int], None] = lambda _: None,
    max_replicas: int = 1,
    *,
    tell: Callable[[str], object] = logger.info,
) -> Plan:
    """Read every input once and cut it into shards; memory is bounded by the plan, not by the inputs.

    `on_progress` gets the number of lines read so far, again and again until the plan is made; what it raises breaks
    the planning off. `tell` gets what is left out of a folder. The same inputs give the same plan. Raises UsageError
    for an input that is not there or of no known format, InputChanged for one that changes while it is read.
    """
    progress = _Progress(on_progress)
    files = _find(spec.inputs, tell, progress.tell)
    max_bytes = max_shard_bytes(sum(file.size_bytes for file in files), max_replicas)
    inputs: list[PlannedInput] = []
    cuts: list[Cut] = []
    with DuplicateScan(progress.tell) as ids:
        decoder, beginnings = Decoder(spec), PromptReader(spec)
        for index, file in enumerate(files):
            progress.tell()  # many small files may take long, too
            lines = _with_ids_noted(_scan(spec, file), index, decoder, ids)
            survey = Survey(window_bytes=_window_bytes(files, max_replicas))
            if spec.order_by_prefix:
                lines = _surveyed(lines, file, beginnings, survey)
            pieces = list(cut(progress.counted(lines), max_rows=spec.shard_rows, max_bytes=max_bytes))
            inputs.append(_planned(file, [piece for piece, _ in pieces], survey))
            cuts += [Cut(Span(index, piece), size_bytes) for piece, size_bytes in pieces if piece.rows]
        progress.tell()
        shards = join(
            cuts,
            max_lines=max_lines(sum(cut.span.rows for cut in cuts), spec.shard_rows),
            max_bytes=max_bytes,
            alone={index for index, planned in enumerate(inputs) if planned.is_scattered},
        )
        return Plan(tuple(inputs), tuple(with_duplicates(shards, ids.repeated())))


def cut(lines: Iterable[tuple[int, Line]], *, max_rows: int, max_bytes: int) -> Iterator[tuple[Piece, int]]:
    """Yield pieces that hold every line once, each with at most so many lines and bytes, but with one row at least.

    With each piece comes the number of its bytes. Blank lines go with the row before them while there is room. All that
    follow are one piece without rows, of any size: nobody reads such a piece.
    """
    start, end, first_line, in_piece, rows, size_bytes = 0, 0, 1, 0, 0, 0
    for line_end, line in lines:
        is_blank = line.is_blank
        line_bytes = len(line.raw) + 1
        has_no_room = in_piece >= max_rows or size_bytes + line_bytes > max_bytes
        ends_blank_ones = in_piece > 0 and not rows and not is_blank
        if ends_blank_ones or (rows and has_no_room):
            yield Piece(start, end, first_line, in_piece, rows), size_bytes
            start, first_line, in_piece, rows, size_bytes = end, line.number, 0, 0, 0
        rows += not is_blank
        size_bytes += line_bytes
        in_piece += 1
        end = line_end
    if in_piece:
        yield Piece(start, end, first_line, in_piece, rows), size_bytes


def read_lines(spec: JobSpec, planned: PlannedInput, heed: Callable[[], object] = lambda: None) -> Iterator[Line]:
    """Yield every line of a planned input; what `heed` raises breaks it off. Raises InputChanged."""
    progress = _Progress(lambda _: heed())
    progress.tell()
    for _, line in progress.counted(_scan(spec, planned.file)):
        yield line


def encode_plan(plan: Plan) -> bytes:
    """Return the plan as JSON, some 40 bytes for a shard and 8 for a line number; `decode_plan` reads it back."""
    stored: dict[str, Any] = {
        "format": FORMAT_WITH_SPANS if any(len(shard.spans) > 1 for shard in plan.shards) else FORMAT,
        "inputs": [astuple(planned) for planned in plan.inputs],
        "shards": _encode_shards(plan.shards),
    }
    if plan.continued_from is not None:
        stored["continued_from"] = asdict(plan.continued_from)
    if plan.copies:
        stored["format"] = max(stored["format"], FORMAT_WITH_COPIES)
        stored["copies"] = [astuple(copy) for copy in plan.copies]
        stored["copy_of_shard"] = [shard.copy for shard in plan.shards]
        stored["in_input_order"] = _encode_shards(plan.in_input_order)
    return orjson.dumps(stored)


def decode_plan(encoded: bytes) -> Plan:
    """Read a plan that `encode_plan` wrote. Raises JobFailed for another format or what is no plan."""
    try:
        stored = orjson.loads(encoded)
        if stored["format"] not in (FORMAT, FORMAT_WITH_COPIES, FORMAT_WITH_SPANS):
            raise JobFailed(
                f"the stored plan has format {stored['format']!r}, this batchctl reads up to {FORMAT_WITH_SPANS}"
            )
        inputs = tuple(PlannedInput(*values) for values in stored["inputs"])
        shards = _decode_shards(stored["shards"])
        continued_from = Continuation(**stored["continued_from"]) if "continued_from" in stored else None
        if "copies" not in stored:
            return Plan(inputs, shards, continued_from)
        copied = zip(shards, stored["copy_of_shard"], strict=True)
        shards = tuple(replace(shard, copy=copy) for shard, copy in copied)
        copies = tuple(InputFile(*values) for values in stored["copies"])
        return Plan(inputs, shards, continued_from, copies, _decode_shards(stored["in_input_order"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise JobFailed(f"the stored plan is damaged: {error}") from None


def _encode_shards(shards: Iterable[Shard]) -> list[list[Any]]:
    """Return a list for each shard: that of its only span, or one of the lists of all."""
    spans = ([_encode_span(span) for span in shard.spans] for shard in shards)
    return [encoded[0] if len(encoded) == 1 else encoded for encoded in spans]


def _encode_span(span: Span) -> list[Any]:
    return [span.input, *astuple(span.piece), span.duplicates, *([span.only] if span.only else [])]


def _decode_shards(stored: Iterable[list[Any]]) -> tuple[Shard, ...]:
    spans = (encoded if isinstance(encoded[0], list) else [encoded] for encoded in stored)
    return tuple(Shard(index, tuple(map(_decode_span, encoded))) for index, encoded in enumerate(spans))


def _decode_span(stored: list[Any]) -> Span:
    number, *piece, duplicates = stored[:7]
    return Span(number, Piece(*piece), duplicates=tuple(duplicates), only=tuple(chain(*stored[7:])))


def _find(patterns: Sequence[str], tell: Callable[[str], object], heed: Callable[[], object]) -> list[InputFile]:
    """Find the inputs in a thread of its own, which what `heed` raises leaves alone: a listing may take minutes."""
    found = Future[list[InputFile]]()

    def find() -> None:
        try:
            found.set_result(find_inputs(patterns, tell))
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            found.set_exception(error)

    Thread(target=find, name="finding", daemon=True).start()
    while not wait([found], HEED_S).done:
        heed()
    try:
        return found.result()
    except (NotFound, InputError) as error:
        raise UsageError(str(error)) from error


def _scan(spec: JobSpec, file: InputFile) -> Lines:
    try:
        yield from scan(file, max_line_bytes=spec.max_line_bytes, columns=needed_columns(spec))
    except InputError as error:
        raise UsageError(str(error)) from error
    except (Changed, NotFound) as error:
        raise InputChanged(f"input {file.uri} changed after it was found: {error}") from error


def max_shard_bytes(all_bytes: int, max_replicas: int) -> int:
    """Return how many bytes of lines a shard may hold, of so many that so many engines share."""
    share = all_bytes // (_SHARDS_PER_REPLICA * max_replicas)
    return min(max(share, MIN_SHARD_BYTES), MAX_SHARD_BYTES)


def _window_bytes(files: Iterable[InputFile], max_replicas: int) -> float:
    """Return about how many bytes of text one of so many engines gets."""
    if max_replicas == 1:
        return inf
    sizes = (file.size_bytes * (1 if file.format in ("jsonl", "csv") else _EXPANSION) for file in files)
    return sum(sizes) / max_replicas


def _with_ids_noted(lines: Lines, index: int, decoder: Decoder, ids: DuplicateScan) -> Lines:
    for end, line in lines:
        if not line.is_blank:
            custom_id = decoder.custom_id(line)
            if custom_id is not None:
                ids.add(custom_id, index, line.number)
        yield end, line


def _surveyed(lines: Lines, file: InputFile, beginnings: PromptReader, survey: Survey) -> Lines:
    for end, line in lines:
        if not line.is_blank:
            survey.add(beginnings.text(file.uri, line))
        yield end, line


class _Progress:
    """Counts the lines of all files that pass."""

    def __init__(self, on_progress: Callable[[int], object]) -> None:
        self._on_progress = on_progress
        self._lines = 0
        self._untold_bytes = 0

    def counted(self, lines: Lines) -> Lines:
        for end, line in lines:
            self._lines += 1
            self._untold_bytes += len(line.raw)
            if self._lines % PROGRESS_LINES == 0 or self._untold_bytes >= PROGRESS_BYTES:
                self.tell()
            yield end, line

    def tell(self) -> None:
        self._untold_bytes = 0
        self._on_progress(self._lines)


def _planned(file: InputFile, pieces: Iterable[Piece], survey: Survey) -> PlannedInput:
    lines = sum(piece.lines for piece in pieces)
    blank = lines - sum(piece.rows for piece in pieces)
    saving, alike = survey.saving(), survey.alike()
    return PlannedInput(file.uri, file.size_bytes, file.etag, file.format, lines, blank, saving, alike)
