"""Lines of a file, copied in another order than the file's: each with the place where it stood there."""

import struct
from collections.abc import Iterator

from connectors.lines import Line

_HEAD = struct.Struct("<QQBI")  # number, offset, problem, bytes of `raw`
_PROBLEMS = (None, "line_too_long", "truncated", "expansion_limit")

HEAD_BYTES = _HEAD.size


def encode_line(line: Line) -> bytes:
    """Return the line as `decode_lines` reads it: HEAD_BYTES of number, offset, problem and length, then `raw`."""
    return _HEAD.pack(line.number, line.offset, _PROBLEMS.index(line.problem), len(line.raw)) + line.raw


def decode_lines(content: bytes) -> Iterator[Line]:
    """Yield the lines of a copy, or of whole lines of one. Raises struct.error for a copy that is cut off."""
    at = 0
    while at < len(content):
        number, offset, problem, size_bytes = _HEAD.unpack_from(content, at)
        at += HEAD_BYTES
        yield Line(number, offset, content[at : at + size_bytes], _PROBLEMS[problem])
        at += size_bytes
