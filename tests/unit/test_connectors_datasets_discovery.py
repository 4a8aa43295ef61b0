import os
from pathlib import Path

import pytest

from connectors.datasets.discovery import Apart
from connectors.datasets.reader import InputFile, find_inputs
from connectors.errors import BadUri, NotFound, UnsupportedFormat
from connectors.stores.store import Store

FILES = [
    "a.jsonl",
    "b.JSONL.GZ",
    "c.jsonl.zst",
    "deep/d.parquet",
    "deep/er/e.csv",
    "deep/er/f.jsonl",
    "notes.txt",
    "_SUCCESS.jsonl",
    ".hidden.jsonl",
    "_tmp/g.jsonl",
    ".git/h.jsonl",
]
OF_DIRECTORY = ["a.jsonl", "b.JSONL.GZ", "c.jsonl.zst", "deep/d.parquet", "deep/er/e.csv", "deep/er/f.jsonl"]


@pytest.fixture
def filled(store: Store) -> Store:
    for name in FILES:
        store.put(name, name.encode())
    return store


def names(files: list[InputFile], store: Store) -> list[str]:
    return [file.uri.removeprefix(store.uri + "/") for file in files]


def test_a_file_by_name(filled: Store) -> None:
    [file] = find_inputs([f"{filled.uri}/b.JSONL.GZ"])
    found = filled.head("b.JSONL.GZ")
    assert file == InputFile(f"{filled.uri}/b.JSONL.GZ", found.size_bytes, found.etag, "jsonl.gz")


@pytest.mark.parametrize("end", ["", "/"])
def test_a_directory(filled: Store, end: str) -> None:
    files = find_inputs([filled.uri + end])
    assert names(files, filled) == OF_DIRECTORY
    assert [file.format for file in files] == ["jsonl", "jsonl.gz", "jsonl.zst", "parquet", "csv", "jsonl"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["_SUCCESS.jsonl", "a.jsonl"]),
        ("?.jsonl*", ["a.jsonl", "c.jsonl.zst"]),
        ("deep/*.parquet", ["deep/d.parquet"]),
        ("**/*.jsonl", ["_SUCCESS.jsonl", "_tmp/g.jsonl", "a.jsonl", "deep/er/f.jsonl"]),
        ("deep/**/*.csv", ["deep/er/e.csv"]),
        ("de*/er/?.jsonl", ["deep/er/f.jsonl"]),
    ],
)
def test_wildcards(filled: Store, pattern: str, expected: list[str]) -> None:
    assert names(find_inputs([f"{filled.uri}/{pattern}"]), filled) == expected


def test_the_order_is_as_given_and_a_file_counts_once(filled: Store) -> None:
    patterns = ["deep/er/f.jsonl", "a.jsonl", "*.jsonl", "deep"]
    found = names(find_inputs([f"{filled.uri}/{pattern}" for pattern in patterns]), filled)
    assert found == ["deep/er/f.jsonl", "a.jsonl", "_SUCCESS.jsonl", "deep/d.parquet", "deep/er/e.csv"]


@pytest.mark.parametrize("pattern", ["missing.jsonl", "missing/", "*.parquet", "missing-bucket-or-dir/*.jsonl"])
def test_nothing_there_names_the_pattern(filled: Store, pattern: str) -> None:
    with pytest.raises(NotFound) as refusal:
        find_inputs([f"{filled.uri}/a.jsonl", f"{filled.uri}/{pattern}"])
    assert pattern in str(refusal.value)


def test_an_unknown_suffix_is_refused_by_name_and_by_wildcard(filled: Store) -> None:
    for pattern in ("notes.txt", "*", "n*"):
        with pytest.raises(
            UnsupportedFormat, match=r"notes\.txt.*\.jsonl, \.jsonl\.gz, \.jsonl\.zst, \.parquet, \.csv"
        ):
            find_inputs([f"{filled.uri}/{pattern}"])


def test_odd_schemes_never_get_that_far() -> None:
    with pytest.raises(BadUri):
        find_inputs(["http://127.0.0.1/a.jsonl"])


def test_local_names_with_wildcard_characters_mean_themselves(tmp_path: Path) -> None:
    for name in ("a*.jsonl", "ab.jsonl", "c[1].jsonl", "c1.jsonl", "d#e?.jsonl"):
        (tmp_path / name).write_bytes(b"{}\n")

    def found(name: str) -> list[str]:
        return [file.uri.rpartition("/")[2] for file in find_inputs([str(tmp_path / name)])]

    assert found("a*.jsonl") == ["a*.jsonl"]
    assert found("c[1].jsonl") == ["c[1].jsonl"]
    assert found("c[1]*") == ["c[1].jsonl"]
    assert found("d#e?.jsonl") == ["d%23e%3F.jsonl"]
    assert len(find_inputs([find_inputs([str(tmp_path / "d#e?.jsonl")])[0].uri])) == 1


def test_a_symbolic_link_to_a_file_elsewhere_is_an_input(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(b"{}\n")
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot" / "x.jsonl").symlink_to("../blob")
    [file] = find_inputs([str(tmp_path / "snapshot")])
    assert (file.uri, file.size_bytes) == (f"file://{tmp_path}/snapshot/x.jsonl", 3)


def test_a_file_that_is_no_regular_file_is_refused_by_name_and_in_a_folder(tmp_path: Path) -> None:
    """A pipe reads as nothing: its job would end completed, with 0 rows."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "link.csv").symlink_to("pipe.jsonl")
    for named in ("pipe.jsonl", "link.csv", "*.jsonl", ""):
        with pytest.raises(UnsupportedFormat, match=r"(pipe|link)\..* is a named pipe, not a regular file"):
            find_inputs([str(tmp_path / named)])
    (tmp_path / "zero.parquet").symlink_to("/dev/zero")
    with pytest.raises(UnsupportedFormat, match=r"zero\.parquet is a device"):
        find_inputs([str(tmp_path / "zero.parquet")])


def test_folders_apart_are_left_out_of_a_directory_and_told(filled: Store) -> None:
    for name in ("deep/mark/here", "deep/mark/over.jsonl", "deep/er/mark", "_tmp/mark/here", "deeper.jsonl"):
        filled.put(name, b"")
    told: list[str] = []

    files = find_inputs([filled.uri], Apart("mark/here", told.append))

    assert names(files, filled) == ["a.jsonl", "b.JSONL.GZ", "c.jsonl.zst", "deeper.jsonl"]
    assert told == [f"{filled.uri}/deep"]


@pytest.mark.parametrize("asked", ["deep", "deep/", "deep/er", "deep/**/f.jsonl", "deep/er/f.jsonl"])
def test_what_is_asked_for_by_name_is_not_apart(filled: Store, asked: str) -> None:
    filled.put("deep/mark", b"")

    found = find_inputs([f"{filled.uri}/{asked}"], Apart("mark", pytest.fail))

    assert "deep/er/f.jsonl" in names(found, filled)
