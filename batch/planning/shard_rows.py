"""The rows of a shard, read from the files that its plan names. Knows nothing of what a line means."""

from collections.abc import Iterator
from dataclasses import dataclass

from batch.errors import InputChanged
from batch.planning.plan import Plan
from batch.planning.shards import Shard, Span
from batch.result import Place
from connectors.datasets.lines import Line
from connectors.datasets.reader import PieceReader
from connectors.errors import Changed, NotFound


@dataclass(frozen=True, slots=True)
class Row:
    """A line that is run, with the number and the URI of its input.

    `number` names the row in its shard: there the lines of the first file have the numbers that they have in that
    file, and those of the files after it are counted on. `is_repeat`: an earlier row has the same custom_id.
    """

    input: int
    file: str
    number: int
    line: Line
    is_repeat: bool

    @property
    def place(self) -> Place:
        """Where the row stands, for people."""
        return Place(self.file, self.line.number, self.line.offset)


def read_rows(plan: Plan, shard: Shard, reader: PieceReader) -> list[Row]:
    """Return the rows of a shard, in its order. Raises InputChanged for a file that is not as it was planned."""
    rows: list[Row] = []
    first_number = shard.spans[0].piece.first_line
    for span in shard.spans:
        rows += _rows_of(plan, shard, span, reader, first_number)
        first_number += span.piece.lines
    return rows


def _rows_of(plan: Plan, shard: Shard, span: Span, reader: PieceReader, first_number: int) -> Iterator[Row]:
    uri = plan.inputs[span.input].uri
    try:
        lines = reader.read(plan.file_of(shard, span), span.piece)
    except (Changed, NotFound) as error:
        raise InputChanged(f"{uri} changed after the job was planned ({error}); start a new job") from error
    only, repeats, shift = frozenset(span.only), frozenset(span.duplicates), first_number - span.piece.first_line
    for line in lines:
        if line.number in only if only else not line.is_blank:
            yield Row(span.input, uri, line.number + shift, line, line.number in repeats)
