"""Dataset files for tests: what a reader must find in any bytes, said in another way than the reader says it."""

import gzip
from collections.abc import Callable
from pathlib import Path

import zstandard

from connectors.datasets.lines import Line
from connectors.datasets.reader import InputFile, Piece, find_inputs

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "jsonl": bytes,
    "jsonl.gz": lambda content: gzip.compress(content, 1),
    "jsonl.zst": zstandard.ZstdCompressor(level=1).compress,
}


def expected_lines(content: bytes, *, max_line_bytes: int) -> list[Line]:
    """Split the whole, strip each."""
    lines, offset = [], 0
    texts = content.split(b"\n")
    if not texts[-1]:
        texts.pop()
    for number, text in enumerate(texts, start=1):
        raw = text.removeprefix(b"\xef\xbb\xbf") if offset == 0 else text
        raw = raw.removesuffix(b"\r")
        is_long = len(raw) > max_line_bytes
        lines.append(Line(number, offset, raw[:256] if is_long else raw, "line_too_long" if is_long else None))
        offset += len(text) + 1
    return lines


def written(folder: str | Path, name: str, content: bytes) -> InputFile:
    path = Path(folder) / name
    path.write_bytes(content)
    return find_inputs([str(path)])[0]


def pieces_of(scanned: list[tuple[int, Line]], cut_after: list[bool]) -> list[Piece]:
    """Pieces that hold every line once; `cut_after` says by turns whether one ends with a line."""
    pieces, start, lines = [], 0, list[Line]()
    for index, (end, line) in enumerate(scanned):
        lines.append(line)
        if cut_after[index % len(cut_after)] or index == len(scanned) - 1:
            rows = sum(not line.is_blank for line in lines)
            pieces.append(Piece(start, end, lines[0].number, len(lines), rows))
            start, lines = end, []
    return pieces
