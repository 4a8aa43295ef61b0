"""What an installed batchctl would hold: its packages, and the files that they read."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
OURS = ("connectors", "batch", "pipelines")
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_every_folder_of_code_is_a_package_that_setuptools_finds() -> None:
    assert SETUPTOOLS["packages"]["find"] == {"include": [f"{name}*" for name in OURS], "namespaces": False}
    folders = {path.parent for name in OURS for path in (ROOT / name).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_file_beside_the_code_is_listed() -> None:
    listed = {
        file
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for file in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    beside = {
        path
        for name in OURS
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert listed == beside
