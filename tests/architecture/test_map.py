"""The map of the house, docs/architecture.md, and the house itself."""

import ast
import re
from pathlib import Path

import pytest
from house import PACKAGES, House

ROOT = Path(__file__).parents[2]
HOUSE = House(ROOT)
MAP = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
MOST_MODULES = 12
NAMED = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.[a-z_]+)*)`")
LIMIT = re.compile(r"(Knows?|Reads|Starts|Holds|Imports|Nothing of it)\b[^.]*\b(nothing|no|is loaded)\b")


def test_every_module_on_the_map_exists() -> None:
    assert [name for name in NAMED.findall(MAP) if name not in HOUSE.modules] == []


def test_every_test_on_the_map_exists() -> None:
    assert [name for name in re.findall(r"`(tests/[\w/.]+)`", MAP) if not (ROOT / name).exists()] == []


def test_every_folder_is_on_the_map() -> None:
    assert sorted(set(HOUSE.folders) - set(NAMED.findall(MAP))) == []


@pytest.mark.parametrize("folder", sorted(HOUSE.folders))
def test_a_folder_is_one_concept_of_a_dozen_modules(folder: str) -> None:
    assert len(HOUSE.folders[folder]) <= MOST_MODULES
    if folder not in PACKAGES:
        assert LIMIT.search(ast.get_docstring(HOUSE.modules[folder]) or ""), "it says what it does not know or do"


def test_arrows_run_one_way_and_in_no_circle() -> None:
    assert HOUSE.back() == []
    assert HOUSE.circles() == []
