"""Rows of tables as lines: JSON objects without the cells that hold nothing. Knows nothing of files."""

from collections import Counter
from typing import Any

import orjson

from connectors.datasets.cells import not_json
from connectors.datasets.lines import EXCERPT_BYTES, Line
from connectors.errors import UnsupportedFormat

_SHOWN, _MAX_DETAIL = 80, 500


def row_line(number: int, row: dict[str, Any], max_line_bytes: int) -> Line:
    """Return the row as a line. A null is no value in a table, which cannot leave a key out: it is left out here."""
    present = {name: cell for name, cell in row.items() if cell is not None}
    try:
        raw = orjson.dumps(present, default=_refuse)
    except orjson.JSONEncodeError:
        return _broken(number, present)
    if len(raw) > max_line_bytes:
        return Line(number, 0, raw[:EXCERPT_BYTES], "line_too_long")
    return Line(number, 0, raw)


def refuse_duplicates(names: list[str], file: str) -> None:
    """Raise UnsupportedFormat for columns of one name."""
    repeated = sorted(name for name, times in Counter(names).items() if times > 1)
    if repeated:
        raise UnsupportedFormat(f"{file}: column names must differ, {', '.join(map(repr, repeated))} repeats")


def _broken(number: int, present: dict[str, Any]) -> Line:
    broken = {name: found for name, cell in present.items() if (found := not_json(cell))}
    rest = {name: cell for name, cell in present.items() if name not in broken}
    name, found = next(iter(broken.items()))
    raw = orjson.dumps(rest)[:EXCERPT_BYTES]
    return Line(number, 0, raw, found.problem, f"column {name[:_SHOWN]!r}: {found.reason}"[:_MAX_DETAIL])


def _refuse(value: object) -> None:
    raise TypeError(type(value).__name__)
