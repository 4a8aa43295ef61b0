"""What an installed batchctl would hold: the packages by name, and the files that they read."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_every_package_is_listed() -> None:
    folders = (
        path.parent for name in ("connectors", "batch", "pipelines") for path in (ROOT / name).rglob("__init__.py")
    )
    assert sorted(SETUPTOOLS["packages"]) == sorted(".".join(folder.relative_to(ROOT).parts) for folder in folders)


def test_every_file_beside_the_code_is_listed() -> None:
    listed = {
        file
        for package, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        for file in (ROOT / package.replace(".", "/")).glob(pattern)
    }
    beside = {
        path
        for name in ("connectors", "batch", "pipelines")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert listed == beside
