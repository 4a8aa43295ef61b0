"""Dataset files: what they are, every line once, and pieces of them again. Knows nothing of what a line means."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice

from connectors.datasets.compression import decompressed
from connectors.datasets.csv_rows import csv_lines
from connectors.datasets.discovery import InputFile, find_inputs
from connectors.datasets.kinds import check_kind
from connectors.datasets.line_copies import decode_lines
from connectors.datasets.lines import Line, LineSplitter
from connectors.datasets.parquet_rows import Columns, parquet_lines
from connectors.errors import Changed
from connectors.stores.registry import locate
from connectors.stores.store import Store

__all__ = ["InputFile", "Piece", "PieceReader", "find_inputs", "scan"]

COPY = "copy"
"""The format of lines that were copied out of their file; see `connectors.datasets.line_copies`."""

_READ_BYTES = 8 << 20
_BLOCK_BYTES = 1 << 20
_MAX_CURSORS = 8
_MAX_OPENED = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a file: bytes [start, end) of plain JSONL or of a copy, 0-based rows or lines [start, end) of others.

    first_line is the number of its first line, 0 in a copy; lines counts all of them, rows those that are not blank.
    """

    start: int
    end: int
    first_line: int
    lines: int
    rows: int


def scan(file: InputFile, *, max_line_bytes: int, columns: Columns | None = None) -> Iterator[tuple[int, Line]]:
    """Every line once with its end, where a piece may be cut: the byte after its newline, or its ordinal + 1.

    `columns` chooses those of a Parquet file that are read. Streams in bounded memory. Raises Changed when the file is
    not the version found before, UnsupportedFormat.
    """
    store, key = locate(file.uri)
    blocks = _blocks(store, key, file, 0, file.size_bytes)
    head = next(blocks, b"")
    check_kind(head, file.format, file.uri)
    if file.format == "jsonl":
        return LineSplitter(max_line_bytes=max_line_bytes).split(chain([head], blocks))
    return ((line.number, line) for line in _lines_from(store, key, file, 0, max_line_bytes, columns))


class PieceReader:
    """Reads pieces as `scan` gave them. Ascending pieces of one compressed or CSV file are read in one pass.

    Owned by one thread; the stores of the last files are kept open.
    """

    def __init__(self, *, max_line_bytes: int, columns: Columns | None = None) -> None:
        """`columns` as `scan` got it."""
        self._max_line_bytes = max_line_bytes
        self._columns = columns
        self._locate = lru_cache(_MAX_OPENED)(locate)
        self._cursors: dict[InputFile, _Cursor] = {}

    def read(self, file: InputFile, piece: Piece) -> list[Line]:
        """The lines of the piece. Raises Changed when the file is not the planned version, NotFound."""
        store, key = self._locate(file.uri)
        if file.format == COPY:
            lines = list(decode_lines(b"".join(_blocks(store, key, file, piece.start, piece.end))))
        elif file.format == "jsonl":
            splitter = LineSplitter(
                max_line_bytes=self._max_line_bytes, first_line=piece.first_line, first_offset=piece.start
            )
            blocks = _blocks(store, key, file, piece.start, piece.end)
            lines = [line for _, line in splitter.split(blocks)]
        else:
            lines = self._read_rows(store, key, file, piece)
        if len(lines) != piece.lines:
            raise Changed(
                f"{file.uri} changed: {piece.lines} lines were planned at {piece.start}..{piece.end}, "
                f"{len(lines)} were found"
            )
        return lines

    def _read_rows(self, store: Store, key: str, file: InputFile, piece: Piece) -> list[Line]:
        if (found := store.head(key).etag) != file.etag:
            raise Changed(f"{file.uri} changed: expected version {file.etag}, found {found}")
        cursor = self._cursors.pop(file, None)
        if cursor is None or cursor.position > piece.start:
            lines_from = _lines_from(store, key, file, piece.start, self._max_line_bytes, self._columns)
            cursor = _Cursor(piece.start, lines_from)
        lines = cursor.read(piece.start, piece.end)
        # Kept only after a good read: an iterator that raised would look like the end of the file.
        self._cursors[file] = cursor
        if len(self._cursors) > _MAX_CURSORS:
            del self._cursors[next(iter(self._cursors))]
        return lines


class _Cursor:
    """A place in the rows of one file."""

    def __init__(self, position: int, lines: Iterator[Line]) -> None:
        self.position = position
        self._lines = lines

    def read(self, start: int, end: int) -> list[Line]:
        """Rows [start, end); start is not before the position."""
        lines = list(islice(self._lines, start - self.position, end - self.position))
        self.position = end
        return lines


def _lines_from(
    store: Store, key: str, file: InputFile, start: int, max_line_bytes: int, columns: Columns | None
) -> Iterator[Line]:
    """The rows of a file that is not plain JSONL, from the 0-based row `start` on."""
    if file.format == "parquet":
        with store.open(key, etag=file.etag) as stream:
            yield from parquet_lines(stream, file.uri, start=start, max_line_bytes=max_line_bytes, columns=columns)
        return

    def blocks(at: int) -> Iterator[bytes]:
        return _blocks(store, key, file, at, file.size_bytes)

    if file.format == "csv":
        lines = csv_lines(blocks, file.uri, max_line_bytes=max_line_bytes)
    else:
        texts = decompressed(blocks(0), file.format.rpartition(".")[2])
        lines = (line for _, line in LineSplitter(max_line_bytes=max_line_bytes).split(texts))
    yield from islice(lines, start, None)


def _blocks(store: Store, key: str, file: InputFile, start: int, end: int) -> Iterator[bytes]:
    """Bytes [start, end) of the planned version in small blocks, read in large ones."""
    while start < end:
        content = store.get_range(key, start, min(start + _READ_BYTES, end), etag=file.etag)
        if not content:
            raise Changed(f"{file.uri} changed: it ends at byte {start}, {end} bytes were expected")
        start += len(content)
        # Small blocks keep the list of lines small where lines are short.
        for at in range(0, len(content), _BLOCK_BYTES):
            yield content[at : at + _BLOCK_BYTES]
