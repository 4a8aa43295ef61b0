"""Files and functions stay small enough to be read at once."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
SOURCES = [
    path
    for folder in ("connectors", "batch", "pipelines", "tests", "benchmarks", ".ci")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def function_lengths(source: str) -> Iterator[tuple[str, int]]:
    """Yield each function's name and its lines from `def` to the end, without the docstring."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        docstring_lines = 0
        if ast.get_docstring(node) is not None:
            first = node.body[0]
            docstring_lines = (first.end_lineno or first.lineno) - first.lineno + 1
        yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1 - docstring_lines


def test_function_lengths_leave_out_the_docstring() -> None:
    source = 'def short() -> int:\n    """One.\n\n    Two.\n    """\n    return 1\n'
    assert list(function_lengths(source)) == [("short", 2)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_and_its_functions_are_short(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= MAX_FILE_LINES
    assert [entry for entry in function_lengths(source) if entry[1] > MAX_FUNCTION_LINES] == []
