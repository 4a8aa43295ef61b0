"""Rows of Parquet files as JSON lines, in memory that depends on what is read. Knows nothing of stores.

A page of a few bytes can stand for gigabytes: cells that are written once and used often stay so until a row is
written, some rows at a time. No row group may be unpacked to more than 200 times its bytes, beside its share of 64 MiB.
"""

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

from connectors.datasets.cells import cells, sizes
from connectors.datasets.compression import FREE_BYTES, MAX_RATIO
from connectors.datasets.lines import EXCERPT_BYTES, Line
from connectors.datasets.table_rows import refuse_duplicates, row_line
from connectors.errors import InputError, StoreError, UnsupportedFormat

Columns = Callable[[Sequence[str]], Sequence[str]]
"""Of the names of a table's columns, those that are read."""

MAX_DEPTH = 64
_MAX_BATCH_ROWS = 4096
_BATCH_BYTES = 16 << 20
_BUFFER_BYTES = 1 << 20
_SLICE_BYTES = 4 << 20
_EMPTY_ROW_BYTES = len("{}\n")
_USUAL_RATIO = 50
"""Text is seldom packed better than this where its cells differ."""
_EXCERPT_CELL_BYTES = 200
"""Of a row that is too long, the cells up to this size are shown."""


def parquet_lines(
    stream: BinaryIO, name: str, *, start: int, max_line_bytes: int, columns: Columns | None = None
) -> Iterator[Line]:
    """Rows from the 0-based row `start` on; row groups before it are not read. Raises UnsupportedFormat.

    A row group that would be unpacked beyond measure ends the file with a line that says so.
    """
    with _told(name):
        table = _Table(stream, name, columns)
        row = 0
        for number in range(table.metadata.num_row_groups):
            rows = table.metadata.row_group(number).num_rows
            if row + rows > start:
                for line in _Group(table, number, row).lines(start, max_line_bytes):
                    yield line
                    if line.problem == "expansion_limit":
                        return
            row += rows


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn whatever is raised over a damaged file into UnsupportedFormat; of its words the first line."""
    try:
        yield
    except (InputError, StoreError):
        raise
    except Exception as error:
        words = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UnsupportedFormat(f"{name} is not a readable Parquet file: {words}") from error


class _Table:
    """An open file: which columns are read, and the leaves that they are stored in."""

    def __init__(self, stream: BinaryIO, name: str, columns: Columns | None) -> None:
        import pyarrow.parquet as pq

        self._stream = stream
        self.name = name
        file = pq.ParquetFile(stream, pre_buffer=False)
        schema = file.schema_arrow
        refuse_duplicates(schema.names, name)
        for field in schema:
            _check_kind(field.type, f"{name}: column {field.name!r}")
        self.metadata = file.metadata
        self.columns = list(columns(schema.names) if columns else schema.names)
        leaves = [_Leaf.of(at, file.schema.column(at)) for at in range(len(file.schema))]
        chosen = frozenset(self.columns)
        self.leaves = [leaf for leaf in leaves if leaf.is_of(chosen)]
        self.size_bytes = stream.seek(0, 2)

    def open(self, dictionaries: list[str]) -> Any:
        """The file, with those leaves read as Arrow dictionaries: a cell that repeats is held once."""
        import pyarrow.parquet as pq

        return pq.ParquetFile(
            self._stream,
            metadata=self.metadata,
            read_dictionary=dictionaries,
            pre_buffer=False,
            buffer_size=_BUFFER_BYTES,
            page_checksum_verification=True,
        )


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A column as Parquet stores it, without the nesting; `value_bytes` of one value, if all have the same."""

    at: int
    path: str
    is_text: bool
    is_repeated: bool
    value_bytes: int

    @staticmethod
    def of(at: int, column: Any) -> "_Leaf":
        is_text = column.physical_type == "BYTE_ARRAY"
        value_bytes = column.length if column.physical_type == "FIXED_LEN_BYTE_ARRAY" else 8 * (not is_text)
        return _Leaf(at, column.path, is_text, column.max_repetition_level > 0, value_bytes)

    def is_of(self, columns: Set[str]) -> bool:
        """Whether it is stored for one of these columns, whose names may have dots in them."""
        ends = [at for at, mark in enumerate(self.path) if mark == "."]
        return any(self.path[:end] in columns for end in (*ends, len(self.path)))


class _Group:
    """A row group, whose first row is the 0-based `first_row` of the file."""

    def __init__(self, table: _Table, number: int, first_row: int) -> None:
        self._table = table
        self._number = number
        self._first_row = first_row
        metadata = table.metadata.row_group(number)
        self._rows = metadata.num_rows
        chunks = [metadata.column(at) for at in range(metadata.num_columns)]
        in_file = min(sum(chunk.total_compressed_size for chunk in chunks), table.size_bytes)
        self._budget_bytes = FREE_BYTES * self._rows // table.metadata.num_rows + MAX_RATIO * in_file
        self._chunks = [(leaf, chunks[leaf.at]) for leaf in table.leaves]

    def lines(self, start: int, max_line_bytes: int) -> Iterator[Line]:
        """The rows from row `start` of the file on; one that says so where the group is beyond measure."""
        if self._is_beyond_measure():
            yield _beyond_measure(self._first_row + 1)
            return
        row = self._first_row
        for batch in self._batches():
            totals = _row_sizes(batch)
            long_rows = _LongRows(batch)
            for first, end in _spans(totals, max_line_bytes):
                number = row + first + 1
                if row + end <= start:
                    continue
                if end - first == 1 and totals[first] > max_line_bytes:
                    yield long_rows.line(first, number, max_line_bytes)
                else:
                    made = _made(batch.slice(first, end - first), number, max_line_bytes)
                    yield from (line for line in made if line.number > start)
            row += batch.num_rows
        found = row - self._first_row
        if found != self._rows:  # Arrow ends where the shortest column does, and says nothing
            raise UnsupportedFormat(
                f"{self._table.name} is damaged: row group {self._number} has {self._rows} rows, of a column {found}"
            )

    def _is_beyond_measure(self) -> bool:
        """Whether the group's own figures say that it would be too much to be unpacked at all.

        Texts that many rows have in common are no part of that, however much they are together: a row of them is text
        only while it is read, and one that is too long never is.
        """
        unpacked = sum(chunk.total_uncompressed_size for _, chunk in self._chunks)
        in_lists = sum(chunk.num_values * max(leaf.value_bytes, 1) for leaf, chunk in self._chunks if leaf.is_repeated)
        return bool(max(unpacked, in_lists, self._rows * _EMPTY_ROW_BYTES) > self._budget_bytes)

    def _batches(self) -> Iterator[Any]:
        """Batches of rows of about 16 MiB."""
        dictionaries = [leaf.path for leaf, chunk in self._chunks if _is_held_once(leaf, chunk)]
        row_bytes = sum(_bytes_in_batch(leaf, chunk) for leaf, chunk in self._chunks) // max(self._rows, 1)
        rows = min(max(_BATCH_BYTES // max(row_bytes, 1), 1), _MAX_BATCH_ROWS)
        file = self._table.open(dictionaries)
        yield from file.iter_batches(batch_size=rows, row_groups=[self._number], columns=self._table.columns)


def _is_held_once(leaf: _Leaf, chunk: Any) -> bool:
    """Whether texts are read as a dictionary, which holds at most what the chunk is unpacked.

    Not where that is much, and not much more than in the file: there few cells repeat.
    """
    unpacked = chunk.total_uncompressed_size
    has_dictionary = chunk.has_dictionary_page or any("DICTIONARY" in encoding for encoding in chunk.encodings)
    is_dense = unpacked > FREE_BYTES and unpacked < _USUAL_RATIO * chunk.total_compressed_size
    return leaf.is_text and has_dictionary and not is_dense


def _bytes_in_batch(leaf: _Leaf, chunk: Any) -> int:
    if _is_held_once(leaf, chunk):
        return int(chunk.num_values * 4)
    return int(max(chunk.total_uncompressed_size, chunk.num_values * leaf.value_bytes))


def _beyond_measure(number: int) -> Line:
    words = f"the file expands to more than {MAX_RATIO} times its size: it is read up to this row"
    return Line(number, 0, b"", "expansion_limit", words)


def _row_sizes(batch: Any) -> list[int]:
    """Return how many bytes of JSON lines the rows become at least."""
    import pyarrow as pa
    import pyarrow.compute as pc

    totals = pa.repeat(pa.scalar(_EMPTY_ROW_BYTES, pa.int64()), batch.num_rows)
    for column in batch.columns:
        totals = pc.add(totals, sizes(column))
    made: list[int] = totals.to_pylist()
    return made


def _spans(totals: list[int], max_line_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield (first, end) of rows that are made together: of about 4 MiB, and one that is too long alone."""
    first, held_bytes = 0, 0
    for at, size_bytes in enumerate(totals):
        is_alone = size_bytes > max_line_bytes
        if at > first and (is_alone or held_bytes + size_bytes > _SLICE_BYTES):
            yield first, at
            first, held_bytes = at, 0
        held_bytes += size_bytes
        if is_alone:
            yield first, at + 1
            first, held_bytes = at + 1, 0
    if first < len(totals):
        yield first, len(totals)


class _LongRows:
    """Rows of a batch that are too long to be made, each as the line that says so, with some of its short cells."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def line(self, at: int, number: int, max_line_bytes: int) -> Line:
        shown = self._shown(at)
        (line,) = _made(self._batch.slice(at, 1).select(shown), number, max_line_bytes)
        return Line(number, 0, line.raw[:EXCERPT_BYTES], "line_too_long")

    def _shown(self, at: int) -> list[str]:
        """Return the columns of a row's first short cells, as many as fill an excerpt."""
        shown, held_bytes = [], 0
        for name, column in zip(self._batch.schema.names, self._cell_sizes, strict=True):
            cell_bytes = column[at].as_py()
            if 0 < cell_bytes <= _EXCERPT_CELL_BYTES:
                shown.append(name)
                held_bytes += len(name) + cell_bytes
            if held_bytes > EXCERPT_BYTES:
                break
        return shown

    @cached_property
    def _cell_sizes(self) -> list[Any]:
        """Of each column the bytes of its cells, looked at once for all rows of the batch."""
        return [sizes(column) for column in self._batch.columns]


def _made(rows: Any, number: int, max_line_bytes: int) -> Iterator[Line]:
    names = rows.schema.names
    columns = [cells(column) for column in rows.columns]
    for at, values in enumerate(zip(*columns, strict=True) if columns else [()] * rows.num_rows):
        yield row_line(number + at, dict(zip(names, values, strict=True)), max_line_bytes)


def _check_kind(kind: Any, where: str, depth: int = 1) -> None:
    """Raise UnsupportedFormat for a column whose structs have two members of one name, or that nests beyond measure."""
    if depth > MAX_DEPTH:
        raise UnsupportedFormat(f"{where} nests deeper than {MAX_DEPTH} levels")
    kind = getattr(kind, "storage_type", kind)  # of an extension
    inner = [kind.field(index) for index in range(kind.num_fields)]
    refuse_duplicates([member.name for member in inner], where)
    for member in inner:
        _check_kind(member.type, where, depth + 1)
