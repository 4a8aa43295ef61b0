"""Text for people: on one line, shortened, with nothing in it that could drive a terminal; numbers, times, sizes.

Knows nothing of jobs.
"""

import re
from collections.abc import Sequence
from urllib.parse import unquote

MAX_SHOWN_CHARACTERS = 400

# C0 without tab and newline, DEL, C1, and the marks that turn the direction of text around.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    """The text with control characters written as escapes; tab and newline stay."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The text on one line, escaped."""
    return escape(" ".join(text.split()))


def shortened(text: str, limit: int = MAX_SHOWN_CHARACTERS) -> str:
    """One escaped line of at most `limit` characters, with an ellipsis where it was cut."""
    line = one_line(text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def address(uri: str) -> str:
    """A local file by its path, as a shell takes it; anything else by its URI."""
    return shortened(unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri)


def number(value: float) -> str:
    """1,234 above ten, two figures below."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"  # noqa: PLR2004


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 3 d 4 h."""
    if seconds < 10:  # noqa: PLR2004
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for unit_s, unit, smaller_s, smaller in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit_s:
            return f"{whole // unit_s} {unit} {whole % unit_s // smaller_s} {smaller}"
    return f"{whole} s"


def size(count_bytes: int) -> str:
    """512 B, 1.2 kB, 3.4 GB."""
    value = float(count_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:  # noqa: PLR2004
            return f"{count_bytes} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest value, escaped, left-aligned, two spaces between them."""
    lines = [[shortened(cell, 80) for cell in row] for row in ([list(headers)] if headers else []) + [*map(list, rows)]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in lines)
