"""Rows of Parquet and CSV files as JSON lines. Knows nothing of stores: it is given an open stream.

A row that cannot become an object is still one line (a JSON array or text, or bytes that are not UTF-8), so that
whoever decodes lines reports it under its number.
"""

import csv
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, BinaryIO

import orjson

from connectors.errors import UnsupportedFormat
from connectors.lines import EXCERPT_BYTES, Line, LineSplitter

_ROWS_AT_ONCE = 256
_BLOCK_BYTES = 1 << 20


def parquet_lines(stream: BinaryIO, name: str, *, start: int, max_line_bytes: int) -> Iterator[Line]:
    """Rows from the 0-based row `start` on; row groups before it are not read. Raises UnsupportedFormat.

    Dates and times are ISO text, bytes base64, decimals text, NaN and infinities null.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(stream, pre_buffer=False)
        _refuse_duplicates(table.schema_arrow.names, name)
        _refuse_code(table.schema_arrow, name)
        groups, row = _groups_from(table, start)
        batches = table.iter_batches(batch_size=_ROWS_AT_ONCE, row_groups=groups) if groups else ()
        for batch in batches:
            if row + batch.num_rows <= start:
                row += batch.num_rows
                continue
            for values in _dicts(batch, name)[max(0, start - row) :]:
                number = max(row, start) + 1
                yield _table_line(number, _encoded(values), max_line_bytes)
                row = number
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UnsupportedFormat(f"{name} is not a readable Parquet file: {error}") from error


def csv_lines(blocks: Iterator[bytes], name: str, *, max_line_bytes: int) -> Iterator[Line]:
    """Rows below the header line, every value as text. Raises UnsupportedFormat for a header with a repeated name."""
    # The limit of the csv module is one for the process, and its default of 128 KiB is below ours.
    csv.field_size_limit(max(csv.field_size_limit(), max_line_bytes))
    source = _TextLines(blocks, max_line_bytes)
    rows = csv.reader(source, strict=True)
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise UnsupportedFormat(f"{name}: the header line is not CSV: {error}") from error
    source.judged(Line(0, 0, b""))
    _refuse_duplicates(header, name)
    number = 0
    while True:
        number += 1
        try:
            values = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raw = orjson.dumps(f"not a CSV row: {error}")
            rows = csv.reader(source, strict=True)
        else:
            is_row = len(values) == len(header)
            raw = _encoded(dict(zip(header, values, strict=True)) if is_row else values) if values else b""
        yield source.judged(_table_line(number, raw, max_line_bytes))


class _TextLines:
    """Physical lines as text, for csv.reader; bytes that are not UTF-8 are kept as surrogates."""

    def __init__(self, blocks: Iterator[bytes], max_line_bytes: int) -> None:
        self._lines = LineSplitter(max_line_bytes=max_line_bytes).split(blocks)
        self._max_line_bytes = max_line_bytes
        self._row_bytes = 0
        self._problem: str | None = None

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        _, line = next(self._lines)
        self._problem = self._problem or line.problem
        self._row_bytes += len(line.raw) + 1
        if self._row_bytes > 2 * self._max_line_bytes:
            # As after a stray quote, which would make one row of the rest of the file.
            self._problem = "line_too_long"
            raise csv.Error("the row is too long")
        return line.raw.decode("utf-8", "surrogateescape") + "\n"

    def judged(self, line: Line) -> Line:
        """The row, with the problem that one of its physical lines had."""
        problem, self._problem, self._row_bytes = self._problem, None, 0
        return Line(line.number, 0, line.raw[:EXCERPT_BYTES], problem) if problem else line


def _refuse_duplicates(names: list[str], file: str) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UnsupportedFormat(f"{file}: column names must differ, {', '.join(map(repr, repeated))} repeats")


def _refuse_code(schema: Any, file: str) -> None:
    """Refuse columns whose values Python code makes: Ray registers such a type, which unpickles what a file holds."""
    for field in schema:
        if _is_made_by_code(field.type):
            raise UnsupportedFormat(
                f"{file}: column {field.name!r} has the extension type {field.type}, which is not read because it may "
                "run code; write the file with plain columns"
            )


def _is_made_by_code(kind: Any) -> bool:
    import pyarrow as pa

    if isinstance(kind, pa.ExtensionType):
        return True
    inner = [kind.field(index).type for index in range(kind.num_fields)]
    inner += [kind.value_type] if pa.types.is_dictionary(kind) else []
    return any(map(_is_made_by_code, inner))


def _groups_from(table: Any, start: int) -> tuple[list[int], int]:
    """The row groups that hold row `start` and later ones, and the first row of the first of them."""
    row = 0
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if row + rows > start:
            return list(range(group, table.num_row_groups)), row
        row += rows
    return [], row


def _dicts(batch: Any, name: str) -> list[Any]:
    """The rows; text that is not UTF-8 is kept as surrogates."""
    import pyarrow as pa

    try:
        rows: list[Any] = batch.to_pylist()
        return rows
    except UnicodeDecodeError:
        columns = [column.cast(pa.binary()) if pa.types.is_string(column.type) else column for column in batch.columns]
    texts = [pa.types.is_string(column.type) for column in batch.columns]
    try:
        values = [column.to_pylist() for column in columns]
    except UnicodeDecodeError as error:
        raise UnsupportedFormat(f"{name}: text inside a nested column is not UTF-8: {error}") from error
    for index, is_text in enumerate(texts):
        if is_text:
            values[index] = [text and text.decode("utf-8", "surrogateescape") for text in values[index]]
    return [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*values, strict=True)]


def _encoded(values: object) -> bytes:
    try:
        return orjson.dumps(values, default=_as_json, option=orjson.OPT_NON_STR_KEYS)
    except orjson.JSONEncodeError:
        # Text with surrogates: written back as the bytes that it was, which are not UTF-8.
        return json.dumps(values, default=_as_json, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _as_json(value: object) -> str:
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return str(value)
    isoformat = getattr(value, "isoformat", None)
    return str(isoformat() if isoformat else value)


def _table_line(number: int, raw: bytes, max_line_bytes: int) -> Line:
    if len(raw) > max_line_bytes:
        return Line(number, 0, raw[:EXCERPT_BYTES], "line_too_long")
    return Line(number, 0, raw)
