"""Lines out of blocks of bytes, in bounded memory. Knows nothing of where the bytes come from or what a line means."""

from collections.abc import Iterator
from dataclasses import dataclass

EXCERPT_BYTES = 256
_BOM = b"\xef\xbb\xbf"
_WHITESPACE = b" \t\n\r\x0b\x0c"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, or one row of a table.

    number is 1-based in its file; offset is the byte offset of the line (in the decompressed text of compressed files,
    0 in tables); raw has no newline, no one trailing carriage return and, at byte 0 of a file, no byte order mark.
    problem: None; "line_too_long" (raw is the first 256 bytes); "truncated" (a compressed stream ended early or is
    damaged) or "expansion_limit" (it grew beyond measure): raw is the part of the line that was there. Of a row of a
    table also "invalid_utf8", "malformed_json" (a cell cannot be JSON) and "not_an_object" (it is no row): raw is the
    beginning of the rest of it. detail: what a person should know of the problem, beside its word.
    """

    number: int
    offset: int
    raw: bytes
    problem: str | None = None
    detail: str = ""

    @property
    def is_blank(self) -> bool:
        """True if there is nothing but ASCII whitespace, and no problem."""
        return self.problem is None and not self.raw.strip(_WHITESPACE)


class CutShort(Exception):
    """Raised by a source of blocks that cannot go on; problem says why, in the words of `Line.problem`."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class LineSplitter:
    """Cuts blocks at newlines. `offset` and `number` are those of the next line.

    A line longer than `max_line_bytes` is given as its first 256 bytes; the rest of it is never held.
    """

    def __init__(self, *, max_line_bytes: int, first_line: int = 1, first_offset: int = 0) -> None:
        self.number = first_line
        self.offset = first_offset
        self._max_line_bytes = max_line_bytes
        # A line that holds more than this is too long, whatever mark, return or newline it may end in.
        self._hold_bytes = max(max_line_bytes, EXCERPT_BYTES) + len(_BOM) + 1
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._skipping = False

    def split(self, blocks: Iterator[bytes]) -> Iterator[tuple[int, Line]]:
        """Every line with its end, the offset of the byte after its newline. A CutShort becomes a last line."""
        try:
            for block in blocks:
                yield from self._cut(block)
        except CutShort as cut:
            yield self._finish(problem=cut.problem)
        else:
            if self._pending_bytes:
                yield self._finish(problem=None)

    def _cut(self, block: bytes) -> Iterator[tuple[int, Line]]:
        lines = block.split(b"\n")
        rest = lines.pop()
        if lines:
            if self._pending_bytes or not self.offset:
                self._hold(lines.pop(0))
                yield self._finish(problem=None, newline=1)
            max_line_bytes, has_return = self._max_line_bytes, b"\r" in block
            number, offset = self.number, self.offset
            for text in lines:
                end = offset + len(text) + 1
                raw = text[:-1] if has_return and text.endswith(b"\r") else text
                if len(raw) <= max_line_bytes:
                    line = Line(number, offset, raw)
                else:
                    line = Line(number, offset, raw[:EXCERPT_BYTES], "line_too_long")
                number, offset = number + 1, end
                yield end, line
            self.number, self.offset = number, offset
        self._hold(rest)

    def _hold(self, part: bytes) -> None:
        self._pending_bytes += len(part)
        if self._skipping or not part:
            return
        self._pending.append(part)
        if self._pending_bytes > self._hold_bytes:
            self._pending = [b"".join(self._pending)[: EXCERPT_BYTES + len(_BOM)]]
            self._skipping = True

    def _finish(self, *, problem: str | None, newline: int = 0) -> tuple[int, Line]:
        raw = b"".join(self._pending)
        if self.offset == 0:
            raw = raw.removeprefix(_BOM)
        if raw.endswith(b"\r") and not self._skipping and not problem:
            raw = raw[:-1]
        if self._skipping or len(raw) > self._max_line_bytes:
            raw, problem = raw[:EXCERPT_BYTES], problem or "line_too_long"
        line = Line(self.number, self.offset, raw, problem)
        self.number += 1
        self.offset += self._pending_bytes + newline
        self._pending, self._pending_bytes, self._skipping = [], 0, False
        return self.offset, line
