"""Whether the tests notice a fault: random ones are put into the code, one at a time, and the tests of its package run.

`python tests/mutation.py --seed 1 --count 60`: a line for each mutant, and the share that was caught. The code is
changed in copies of the tree, never in place.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from random import Random
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("connectors", "batch", "pipelines")
LEFT_OUT = ("pipelines/models/", "pipelines/engines/vllm/dump_")
"""Scripts that are run by hand."""
LIMIT_S = 60.0
"""Of all tests together. What hangs has failed after a third of it."""
CALM = "not cloud and not ray and not gpu"
SWAPS: dict[type[ast.AST], Any] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A file, and the place in it where `text` takes the place of what stands there."""

    file: str
    line: int
    start: int
    end: int
    text: str

    def source(self) -> str:
        """The whole file with the fault."""
        lines = (ROOT / self.file).read_bytes().splitlines(keepends=True)
        old = lines[self.line - 1]
        lines[self.line - 1] = old[: self.start] + self.text.encode() + old[self.end :]
        return b"".join(lines).decode()

    def __str__(self) -> str:
        old = (ROOT / self.file).read_bytes().splitlines()[self.line - 1][self.start : self.end].decode()
        return f"{self.file}:{self.line}: {old} -> {self.text}"


def mutants(file: Path) -> Iterator[Mutant]:
    """Yield one mutant for each place of a file where a fault can be put, on one line of code that runs."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    name = str(file.relative_to(ROOT))
    for node in _running(tree):
        changed = _changed(node)
        if changed is not None and isinstance(node, ast.expr) and node.lineno == node.end_lineno:
            assert node.end_col_offset is not None
            yield Mutant(name, node.lineno, node.col_offset, node.end_col_offset, f"({ast.unparse(changed)})")


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what is evaluated: no annotation, no text, nothing that only type checkers see."""
    yield node
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list") or _is_for_types(node) or _is_size(node):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not isinstance(child, ast.JoinedStr):
                yield from _running(child)


def _is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_size(node: ast.AST) -> bool:
    """Whether a number gets a name of capitals: sizes and times were measured, and no test can tell 64 from 65."""
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return any(isinstance(target, ast.Name) and target.id.isupper() for target in targets)


def _changed(node: ast.AST) -> ast.expr | None:
    match node:
        case ast.Compare(left, [op], right) if type(op) in SWAPS:
            return ast.Compare(left, [SWAPS[type(op)]()], right)
        case ast.BoolOp(op, values):
            return ast.BoolOp(SWAPS[type(op)](), values)
        case ast.BinOp(left, op, right) if type(op) in SWAPS:
            return ast.BinOp(left, SWAPS[type(op)](), right)
        case ast.UnaryOp(ast.Not(), operand):
            return operand
        case ast.IfExp(test, body, orelse):
            return ast.IfExp(test, orelse, body)
        case ast.Constant(bool() as value):
            return ast.Constant(not value)
        case ast.Constant(int() as value):
            return ast.Constant(value + 1)
        case _:
            return None


def is_caught(mutant: Mutant, tree: Path) -> bool:
    """Run the tests of the mutant's package in a copy of the tree, its folder's first, until one fails."""
    place = tree / mutant.file
    before = place.read_bytes()
    place.write_text(mutant.source(), encoding="utf-8")
    package, *rest = Path(mutant.file).parts
    folder = "_".join([package, *rest[:-1]])
    tests = sorted(
        (path for path in tree.glob("tests/*/test_*.py") if path.parent.name in ("unit", "properties", "contracts")),
        key=lambda path: (not path.name.startswith(f"test_{folder}"), not path.name.startswith(f"test_{package}")),
    )
    ours = [str(path) for path in tests if path.name.startswith(f"test_{package}") or path.parent.name == "contracts"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--timeout={LIMIT_S / 3}",
        "-m",
        CALM,
        *ours,
        "tests/architecture",
    ]
    environment = os.environ | {"PYTHONPATH": str(tree), "HYPOTHESIS_SEED": "0"}
    try:
        ended = subprocess.run(command, cwd=tree, env=environment, capture_output=True, timeout=LIMIT_S, check=False)
        return ended.returncode != 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        place.write_bytes(before)


def main() -> int:
    """Draw the mutants, try them, print what was caught; return 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    places = [
        mutant for path in files if not str(path.relative_to(ROOT)).startswith(LEFT_OUT) for mutant in mutants(path)
    ]
    drawn = Random(options.seed).sample(places, options.count)
    with tempfile.TemporaryDirectory() as folder:
        trees: Queue[Path] = Queue()
        for number in range(options.jobs):
            tree = Path(folder, str(number))
            shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".ov"))
            trees.put(tree)

        def attempt(mutant: Mutant) -> bool:
            tree = trees.get()
            try:
                caught = is_caught(mutant, tree)
            finally:
                trees.put(tree)
            print("caught  " if caught else "survived", mutant, flush=True)
            return caught

        with ThreadPoolExecutor(options.jobs) as pool:
            caught = sum(pool.map(attempt, drawn))
    print(f"{caught} of {len(drawn)} caught ({caught / len(drawn):.2f}), of {len(places)} places")
    return 0


if __name__ == "__main__":
    sys.exit(main())
