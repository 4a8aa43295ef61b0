import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.datasets.lines import Line
from connectors.datasets.reader import Piece, PieceReader, find_inputs, scan
from connectors.errors import BadUri, Changed, InputError, NotFound, StoreError
from connectors.stores.store import Store

ROOT = Path(__file__).parents[2]


def test_the_same_on_every_store(store: Store) -> None:
    store.put("a.jsonl", b'{"a":1}\r\n\n{"b":2}')
    store.put("b.jsonl.gz", gzip.compress(b'{"a":1}\r\n\n{"b":2}'))
    store.put("c.csv", b"a\n1\n")
    plain, packed, table = find_inputs([store.uri])
    lines = [Line(1, 0, b'{"a":1}'), Line(2, 9, b""), Line(3, 10, b'{"b":2}')]
    assert list(scan(plain, max_line_bytes=100)) == list(zip([9, 10, 17], lines, strict=True))
    assert list(scan(packed, max_line_bytes=100)) == list(zip([1, 2, 3], lines, strict=True))
    assert list(scan(table, max_line_bytes=100)) == [(1, Line(1, 0, b'{"a":"1"}'))]
    reader = PieceReader(max_line_bytes=100)
    assert reader.read(plain, Piece(9, 17, 2, 2, 1)) == lines[1:]
    assert reader.read(packed, Piece(1, 3, 2, 2, 1)) == lines[1:]


def test_a_change_between_plan_and_read_is_refused(store: Store) -> None:
    store.put("a.jsonl", b"1\n2\n")
    store.put("b.jsonl.gz", gzip.compress(b"1\n2\n"))
    files = find_inputs([store.uri])
    reader = PieceReader(max_line_bytes=100)
    assert [len(reader.read(file, Piece(0, 2, 1, 1, 1))) for file in files[:1]] == [1]
    assert len(reader.read(files[1], Piece(0, 1, 1, 1, 1))) == 1
    store.put("a.jsonl", b"3\n4\n")
    store.put("b.jsonl.gz", gzip.compress(b"3\n4\n"))
    for file in files:
        with pytest.raises(Changed, match="changed"):
            reader.read(file, Piece(1, 2, 2, 1, 1))
        with pytest.raises(Changed, match="changed"):
            list(scan(file, max_line_bytes=100))
    store.delete("a.jsonl")
    with pytest.raises(NotFound):
        reader.read(files[0], Piece(0, 2, 1, 1, 1))


def test_a_local_file_that_grows_while_it_is_scanned_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 100 + b"\n")
    with path.open("ab") as file:
        file.truncate(9 << 20)
    [found] = find_inputs([str(path)])
    lines = scan(found, max_line_bytes=100)
    next(lines)
    with path.open("ab") as file:
        file.write(b"more\n")
    with pytest.raises(Changed):
        list(lines)


def test_a_truncated_file_keeps_its_lines_and_says_so(tmp_path: Path) -> None:
    content = gzip.compress(b"".join(os.urandom(20).hex().encode() + b"\n" for _ in range(500)))
    (tmp_path / "a.jsonl.gz").write_bytes(content[:-2000])
    (tmp_path / "b.jsonl.gz").write_bytes(b"")
    cut, empty = find_inputs([str(tmp_path)])
    *lines, last = [line for _, line in scan(cut, max_line_bytes=100)]
    assert len(lines) > 200
    assert {line.problem for line in lines} == {None}
    assert (last.problem, last.number, last.is_blank) == ("truncated", len(lines) + 1, False)
    assert [line for _, line in scan(empty, max_line_bytes=100)] == [Line(1, 0, b"", "truncated")]


def test_ascending_pieces_of_a_packed_file_are_read_in_one_pass(s3_store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b"".join(b"%d\n" % n for n in range(3000))))
    [file] = find_inputs([str(tmp_path)])
    reader = PieceReader(max_line_bytes=100)
    pieces = [Piece(n, n + 1, n + 1, 1, 1) for n in range(0, 3000, 3)]
    # Starting over for each piece would split 1.5 million lines; the timeout of the suite would not allow many such.
    assert [reader.read(file, piece)[0].raw for piece in pieces] == [b"%d" % n for n in range(0, 3000, 3)]
    assert reader.read(file, pieces[0])[0].raw == b"0"


def test_many_files_take_turns(tmp_path: Path) -> None:
    for name in range(12):
        (tmp_path / f"{name:02}.jsonl.gz").write_bytes(
            gzip.compress(b"".join(b"%d-%d\n" % (name, n) for n in range(9)))
        )
    files = find_inputs([str(tmp_path)])
    reader = PieceReader(max_line_bytes=100)
    for n in range(9):
        assert [reader.read(file, Piece(n, n + 1, n + 1, 1, 1))[0].raw for file in files] == [
            b"%d-%d" % (name, n) for name in range(12)
        ]


def test_errors_travel_by_pickle_and_form_the_drawn_tree() -> None:
    import pickle

    from connectors import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for kind in kinds:
        copy = pickle.loads(pickle.dumps(kind("what happened")))
        assert (type(copy), str(copy)) == (kind, "what happened")
        assert kind.__name__ in (errors.__doc__ or "")
        assert issubclass(kind, StoreError | InputError)
    assert issubclass(BadUri, ValueError)


@pytest.mark.parametrize("module", ["connectors", "connectors.datasets.reader", "connectors.stores.registry"])
def test_importing_is_light(module: str) -> None:
    heavy = ["fsspec", "pyarrow", "zstandard", "s3fs", "aiohttp", "ray", "torch", "pandas", "numpy"]
    script = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
