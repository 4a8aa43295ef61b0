"""Lines of a file, copied in another order than the file's: each with the place where it stood there."""

import struct
from collections.abc import Iterator

from connectors.datasets.lines import Line

_HEAD = struct.Struct("<QQBI")  # number, offset, problem, bytes of `raw`
_DETAIL = struct.Struct("<H")  # bytes of the detail, which follows it
_PROBLEMS = (None, "line_too_long", "truncated", "expansion_limit", "invalid_utf8", "malformed_json", "not_an_object")
_HAS_DETAIL = 0x80

HEAD_BYTES = _HEAD.size


def encode_line(line: Line) -> bytes:
    """Return the line as `decode_lines` reads it: HEAD_BYTES of number, offset, problem and length, `raw`, `detail`."""
    problem, detail = _PROBLEMS.index(line.problem), b""
    if line.detail:
        words = line.detail.encode()
        problem, detail = problem | _HAS_DETAIL, _DETAIL.pack(len(words)) + words
    return _HEAD.pack(line.number, line.offset, problem, len(line.raw)) + line.raw + detail


def decode_lines(content: bytes) -> Iterator[Line]:
    """Yield the lines of a copy, or of whole lines of one. Raises struct.error for a copy that is cut off."""
    at = 0
    while at < len(content):
        number, offset, problem, size_bytes = _HEAD.unpack_from(content, at)
        at += HEAD_BYTES
        raw, detail = content[at : at + size_bytes], ""
        at += size_bytes
        if problem & _HAS_DETAIL:
            (words,) = _DETAIL.unpack_from(content, at)
            at += _DETAIL.size + words
            detail = content[at - words : at].decode()
        yield Line(number, offset, raw, _PROBLEMS[problem & ~_HAS_DETAIL], detail)
