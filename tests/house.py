"""The house in figures: modules, folders, arrows between folders, circles, sizes. `python tests/house.py [ROOT]`.

A module is a file of ours, a folder a package. An arrow goes from the folder of a module that imports to the folder of
the module that is imported; one runs back when there is also one the other way. Imports for types alone do not count.
"""

import ast
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import quantiles

PACKAGES = ("connectors", "batch", "pipelines")
Arrow = tuple[str, str]


@dataclass(frozen=True)
class House:
    """The modules below a root, by their dotted names."""

    root: Path

    @cached_property
    def modules(self) -> dict[str, ast.Module]:
        """Every module, parsed."""
        paths = (path for package in PACKAGES for path in sorted((self.root / package).rglob("*.py")))
        return {self._name(path): ast.parse(path.read_text(encoding="utf-8")) for path in paths}

    @cached_property
    def folders(self) -> dict[str, list[str]]:
        """The modules of every folder, `__init__` apart."""
        found: dict[str, list[str]] = {}
        for module in self.modules:
            found.setdefault(self.folder(module), [])
            if module not in self._packages:
                found[self.folder(module)].append(module)
        return found

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """What each module imports of ours."""
        return {name: set(self._imported(tree)) - {name} for name, tree in self.modules.items()}

    @cached_property
    def arrows(self) -> Counter[Arrow]:
        """How many imports each arrow between two folders stands for."""
        pairs = ((self.folder(a), self.folder(b)) for a, targets in self.imports.items() for b in targets)
        return Counter((a, b) for a, b in pairs if a != b)

    def folder(self, module: str) -> str:
        """The folder that a module stands in; a package stands in itself."""
        return module if module in self._packages else module.rpartition(".")[0]

    def back(self) -> list[Arrow]:
        """Arrows between siblings that run both ways; a folder may use what is inside it, and the other way round."""
        return [(a, b) for a, b in self.arrows if a < b and (b, a) in self.arrows and not _is_inside(a, b)]

    def circles(self) -> list[list[str]]:
        """Sets of modules that import each other, directly or not."""
        reachable = {name: self._reachable(name) for name in self.modules}
        found = {
            frozenset(other for other in reachable[name] if name in reachable[other])
            for name in self.modules
            if name in reachable[name]
        }
        return sorted(sorted(circle) for circle in found)

    @cached_property
    def _packages(self) -> set[str]:
        return {".".join(path.parent.relative_to(self.root).parts) for path in self.root.glob("*/**/__init__.py")}

    def _name(self, path: Path) -> str:
        return ".".join(path.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")

    def _imported(self, tree: ast.Module) -> Iterator[str]:
        for node in _running(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            parts = (name.split(".") for name in names)
            paths = ([".".join(words[:length]) for length in range(len(words), 0, -1)] for words in parts)
            yield from (next(filter(self.modules.__contains__, path)) for path in paths if path[-1] in PACKAGES)

    def _reachable(self, start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = self.imports[waiting.pop()] - seen
            seen |= new
            waiting += new
        return seen


def _is_inside(a: str, b: str) -> bool:
    return b.startswith(f"{a}.") or a.startswith(f"{b}.")


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            yield node
            yield from _running(node)


def _spread(values: list[int]) -> str:
    tenths = quantiles(values, n=10, method="inclusive")
    return f"p50 {tenths[4]:.0f}, p90 {tenths[8]:.0f}, max {max(values)}"


def main(root: Path) -> None:
    """Print the figures."""
    house = House(root)
    largest = max(house.folders, key=lambda folder: len(house.folders[folder]))
    lines = [
        len(path.read_text(encoding="utf-8").splitlines()) for name in PACKAGES for path in (root / name).rglob("*.py")
    ]
    functions = [
        (node.end_lineno or 0) - node.lineno + 1
        for tree in house.modules.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    print(f"modules {sum(map(len, house.folders.values()))}, folders {len(house.folders)}")
    print(f"arrows between folders {len(house.arrows)}, of them back {len(house.back())}")
    print(f"circles {len(house.circles())}")
    print(f"largest folder {largest}: {len(house.folders[largest])} modules")
    print(f"lines of a file {_spread(lines)}; of a function {_spread(functions)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1])
