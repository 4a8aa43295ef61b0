"""Rows of CSV files as JSON lines, in bounded memory. Knows nothing of stores: it is given what opens the file.

A row that is none is still one line, with the problem that it has.
"""

import csv
import re
from collections.abc import Callable, Generator, Iterator

from connectors.datasets.cells import NotJSON, text_cell
from connectors.datasets.lines import EXCERPT_BYTES, Line
from connectors.datasets.table_rows import refuse_duplicates, row_line
from connectors.errors import UnsupportedFormat

Blocks = Callable[[int], Iterator[bytes]]
"""Opens the file at a byte, and gives its blocks from there on."""

_DELIMITERS = ",;\t"
_BOM = b"\xef\xbb\xbf"
_STATED = re.compile(rb"sep=([,;\t|])\r?\n", re.IGNORECASE)  # as Excel writes it above the header
_HEAD_BYTES = 1 << 16


def csv_lines(blocks: Blocks, name: str, *, max_line_bytes: int) -> Iterator[Line]:
    """Rows below the header line, every value as text; an empty cell is no value. Raises UnsupportedFormat.

    The delimiter is what the file states (`sep=;`), else the one that makes most columns of the header.
    """
    # The limit of the csv module is one for the process, and its default of 128 KiB is below ours.
    csv.field_size_limit(max(csv.field_size_limit(), 2 * max_line_bytes))
    head = _head(blocks)
    begins = len(_BOM) * head.startswith(_BOM)
    stated = _STATED.match(head, begins)
    begins = stated.end() if stated else begins
    delimiter = stated[1].decode() if stated else _delimiter_of(head[begins:])
    rows = _Splitter(blocks, delimiter, max_bytes=2 * max_line_bytes).rows(begins)
    values = _Values(delimiter)
    header = _header(next(rows, b""), values, name)
    for number, raw in enumerate(rows, start=1):
        yield _line(number, raw, header, values, max_line_bytes)


def _head(blocks: Blocks) -> bytes:
    head = b""
    for block in blocks(0):
        head += block
        if len(head) >= _HEAD_BYTES:
            break
    return head


def _delimiter_of(head: bytes) -> str:
    texts = head.decode("utf-8", "replace").splitlines(keepends=True)
    return max(_DELIMITERS, key=lambda delimiter: _columns(texts, delimiter))


def _columns(texts: list[str], delimiter: str) -> int:
    try:
        return len(next(csv.reader(texts, delimiter=delimiter, strict=True), []))
    except csv.Error:
        return 0


def _header(raw: bytes, values: "_Values", name: str) -> list[str]:
    try:
        header = values.of(raw)
    except (csv.Error, UnicodeDecodeError) as error:
        raise UnsupportedFormat(f"{name}: the header line is not CSV: {error}") from error
    refuse_duplicates(header, name)
    return header


def _line(number: int, raw: bytes, header: list[str], values: "_Values", max_line_bytes: int) -> Line:
    if not raw:
        return Line(number, 0, b"")
    if len(raw) > 2 * max_line_bytes:
        return Line(number, 0, raw[:EXCERPT_BYTES], "line_too_long")
    try:
        row = values.of(raw, errors="surrogateescape")
    except csv.Error as error:
        return Line(number, 0, raw[:EXCERPT_BYTES], "not_an_object", f"not a CSV row: {error}")
    if len(row) != len(header):
        words = f"the row has {len(row)} values, the header {len(header)}"
        return Line(number, 0, raw[:EXCERPT_BYTES], "not_an_object", words)
    cells = {name: _cell(value) for name, value in zip(header, row, strict=True) if value}
    return row_line(number, cells, max_line_bytes)


def _cell(value: str) -> str | NotJSON:
    return value if value.isascii() else text_cell(value.encode("utf-8", "surrogateescape"))


class _Values:
    """Cuts rows into values. One reader of the csv module for all rows, since making one takes as long as ten rows."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter
        self._waiting: list[str] = []
        self._reader = self._fresh_reader()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if not self._waiting:
            raise StopIteration
        return self._waiting.pop()

    def of(self, raw: bytes, errors: str = "strict") -> list[str]:
        """The values of a row. A line break inside one is a newline, whoever wrote it. Raises csv.Error."""
        self._waiting.append(raw.replace(b"\r\n", b"\n").decode("utf-8", errors))
        try:
            return next(self._reader, [])
        except csv.Error:
            self._reader = self._fresh_reader()  # the old one is in the middle of the row
            raise

    def _fresh_reader(self) -> "Iterator[list[str]]":
        return csv.reader(self, delimiter=self._delimiter, strict=True)


class _Splitter:
    """Cuts text at the newlines that stand in no quotes. Of a row longer than `max_bytes` a little more is given."""

    def __init__(self, blocks: Blocks, delimiter: str, *, max_bytes: int) -> None:
        self._blocks = blocks
        self._max_bytes = max_bytes
        self._no_end_before = 0
        # Possessive, so that no text is looked at twice.
        quoted = rb'"(?:[^"]++|"")*+'
        plain = rb'(?:[^"D\n][^D\n]*+)?+'
        well = rb"(?:" + quoted + rb'"|' + plain + rb")"
        any_ = rb"(?:" + quoted + rb'"[^D\n]*+|' + plain + rb")"
        self._row = _pattern(any_ + rb"(?:D" + any_ + rb")*+\n", delimiter)
        self._good_row = _pattern(well + rb"(?:D" + well + rb")*+\r?\n", delimiter)
        self._good_cells = _pattern(rb"(?:" + well + rb"D)*+", delimiter)
        self._quoted = _pattern(quoted, delimiter)

    def rows(self, start: int) -> Iterator[bytes]:
        """The rows from a byte on, without their newlines."""
        at: int | None = start
        while at is not None:
            at = yield from self._rows_to_a_long_one(at)

    def _rows_to_a_long_one(self, start: int) -> Generator[bytes, None, int | None]:
        """Yield rows up to one that is too long; return where the next one begins, None at the end."""
        text, done = b"", 0
        for block in _ended(self._blocks(start)):
            text, start, done = text[done:] + block, start + done, 0
            while (row := self._row.match(text, done)) and row.end() - done <= self._max_bytes:
                yield text[done : row.end() - 1].removesuffix(b"\r")
                done = row.end()
            if len(text) - done > self._max_bytes:
                yield text[done : done + self._max_bytes + 1]
                return self._after_long_row(start + done)
        if text[done:]:
            yield text[done:]  # its last quote is never closed
        return None

    def _after_long_row(self, start: int) -> int:
        """Return where the row after a long one begins: after its newline that stands in no quotes.

        A quote that is not closed well is a stray one, and would make one row of the rest of the file: then the next
        row begins at the first line after so many bytes as a row may have.
        """
        limit = start + self._max_bytes
        if limit >= self._no_end_before:  # else the search would come to the same stray quote again
            read, text = start, b""
            for block in _ended(self._blocks(start)):
                read, text = read + len(block), text + block
                if row := self._good_row.match(text):
                    return read - len(text) + row.end()
                good = self._good_cells.match(text)
                text = text[good.end() if good else 0 :]
                closed = self._quoted.match(text)
                if closed is None:
                    text = text[:1]  # of a plain cell nothing but its newline matters
                elif len(text) <= closed.end() + 2:
                    text = b'"' + text[closed.end() :]
                else:
                    break
            self._no_end_before = read
        return self._next_line(limit)

    def _next_line(self, start: int) -> int:
        for block in self._blocks(start):
            found = block.find(b"\n")
            if found >= 0:
                return start + found + 1
            start += len(block)
        return start


def _pattern(text: bytes, delimiter: str) -> re.Pattern[bytes]:
    return re.compile(text.replace(b"D", re.escape(delimiter.encode())))


def _ended(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks, with a newline at the end of the last line."""
    last = b"\n"
    for block in blocks:
        last = block[-1:] or last
        yield block
    if last != b"\n":
        yield b"\n"
