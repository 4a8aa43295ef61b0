"""Packages beside torch that were made for another build of it are named, with the command that removes them."""

from pathlib import Path

import pytest

from batch.errors import UsageError
from pipelines.engines.companions import misfits_named


def make_package(folder: Path, name: str, content: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(content)


def test_a_companion_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path, "torchvision", 'raise RuntimeError("operator torchvision::nms does not exist")')
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(UsageError, match=r"remove with `pip uninstall torchvision`"), misfits_named():
        raise RuntimeError("operator torchvision::nms does not exist")


def test_what_is_no_companions_fault_is_raised_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path, "torchcodec", "")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(ImportError, match="libgomp"), misfits_named():
        raise ImportError("libgomp.so.1: cannot open shared object file")
