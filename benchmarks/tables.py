"""Markdown tables with aligned columns. Knows nothing of what stands in them."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return `rows`, the first of which is the head, as one Markdown table."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    head, *body = [_line([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]) for row in rows]
    return "\n".join([head, _line(["-" * width for width in widths]), *body])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
