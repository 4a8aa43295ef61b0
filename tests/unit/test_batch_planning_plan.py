import gzip
from pathlib import Path
from threading import Event

import orjson
import pytest
from specs import chat_line, job_spec

from batch.errors import InputChanged, JobFailed, UsageError
from batch.planning.plan import Plan, PlannedInput, cut, decode_plan, encode_plan, make_plan, read_lines
from batch.planning.shard_rows import read_rows
from batch.planning.shards import Shard, Span
from batch.spec.job_spec import JobSpec
from connectors.datasets.lines import Line
from connectors.datasets.reader import Piece, PieceReader


def write(path: Path, rows: list[object]) -> Path:
    path.write_bytes(b"".join(row if isinstance(row, bytes) else orjson.dumps(row) + b"\n" for row in rows))
    return path


def spec_over(*paths: Path, **changes: object) -> JobSpec:
    return job_spec(inputs=tuple(f"file://{path}" for path in paths), **changes)


def raw_lines(plan: Plan) -> list[bytes]:
    reader = PieceReader(max_line_bytes=10**6)
    return [row.line.raw for shard in plan.shards for row in read_rows(plan, shard, reader)]


def pieces(plan: Plan) -> list[Piece]:
    return [span.piece for shard in plan.shards for span in shard.spans]


def test_shards_hold_every_row_once_and_in_order(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", [{"prompt": str(number)} for number in range(10)])
    second = write(tmp_path / "b.jsonl", [{"prompt": "last"}])

    plan = make_plan(spec_over(first, second, shard_rows=4))

    assert [[(span.input, span.rows) for span in shard.spans] for shard in plan.shards] == [
        [(0, 4)],
        [(0, 4)],
        [(0, 2), (1, 1)],
    ]
    assert [shard.index for shard in plan.shards] == [0, 1, 2]
    assert raw_lines(plan) == first.read_bytes().splitlines() + second.read_bytes().splitlines()
    assert (plan.lines, plan.blank, plan.rows) == (11, 0, 11)


class Stopped(Exception):
    """What breaks a planning off."""


def stop(*_: object) -> None:
    raise Stopped


def test_what_breaks_the_planning_off_waits_for_no_listing(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [{"prompt": "1"}])
    (tmp_path / "old" / "_job").mkdir(parents=True)
    (tmp_path / "old" / "_job" / "spec.json").write_text("{}")
    is_over, listed = Event(), []

    def tell(left_out: str) -> None:  # called in the midst of a listing, which takes as long as this does
        listed.append(is_over.wait(20))

    with pytest.raises(Stopped):
        make_plan(spec_over(tmp_path), stop, tell=tell)

    assert listed == []
    is_over.set()


def test_small_files_are_counted_one_by_one(tmp_path: Path) -> None:
    """A thousand of them in a bucket take a minute."""
    files = [write(tmp_path / f"{number}.jsonl", [{"prompt": "1"}]) for number in range(3)]
    told: list[int] = []

    plan = make_plan(spec_over(*files), told.append)

    assert told[-4:] == [0, 1, 2, 3]
    with pytest.raises(Stopped):
        list(read_lines(spec_over(*files), plan.inputs[0], stop))


def test_blank_lines_are_counted_and_make_no_shard(tmp_path: Path) -> None:
    rows = write(tmp_path / "a.jsonl", [b"\n", {"prompt": "1"}, b" \t\n", b"\r\n", {"prompt": "2"}, b"\n\n"])
    nothing = write(tmp_path / "b.jsonl", [b"\n\n"])
    empty = write(tmp_path / "c.jsonl", [])

    plan = make_plan(spec_over(rows, nothing, empty, shard_rows=3))

    assert [(planned.lines, planned.blank) for planned in plan.inputs] == [(7, 5), (2, 2), (0, 0)]
    assert [(piece.first_line, piece.lines, piece.rows) for piece in pieces(plan)] == [
        (2, 3, 1),
        (5, 3, 1),
    ]
    assert raw_lines(plan) == [b'{"prompt":"1"}', b'{"prompt":"2"}']


def test_second_and_later_uses_of_an_id_are_found_across_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a.jsonl", [chat_line(name) for name in "abcab"])
    second = write(tmp_path / "b.jsonl", [b"\n", chat_line("c"), chat_line("d"), chat_line("a")])

    plan = make_plan(spec_over(first, second, shard_rows=2))

    assert [[(span.input, span.duplicates) for span in shard.spans] for shard in plan.shards] == [
        [(0, ())],
        [(0, (4,))],
        [(0, (5,))],
        [(1, (2,))],
        [(1, (4,))],
    ]


def test_rows_without_ids_and_unreadable_lines_repeat_nothing(tmp_path: Path) -> None:
    rows = write(tmp_path / "a.jsonl", [{"prompt": "x"}, {"prompt": "x"}, b"{\n", b"{\n", {"body": {}}, {"body": {}}])

    assert make_plan(spec_over(rows)).repeated_lines() == {}


def test_a_compressed_file_is_cut_by_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b"".join(b'{"prompt":"%d"}\n' % number for number in range(5))))

    plan = make_plan(spec_over(path, shard_rows=2))

    assert [(piece.start, piece.end) for piece in pieces(plan)] == [(0, 2), (2, 4), (4, 5)]
    assert raw_lines(plan) == [b'{"prompt":"%d"}' % number for number in range(5)]


def test_what_engines_would_compute_twice_is_counted_by_what_each_of_them_gets(tmp_path: Path) -> None:
    lines: list[object] = [{"prompt": f"subject {n % 40} " * 30 + str(n)} for n in range(800)]
    plain = write(tmp_path / "a.jsonl", lines)
    packed = write(tmp_path / "b.jsonl.gz", [gzip.compress(plain.read_bytes())])

    def shares(path: Path, engines: int) -> tuple[float, float]:
        (planned,) = make_plan(spec_over(path), max_replicas=engines).inputs
        return planned.saving, planned.alike

    assert shares(plain, 1)[0] == shares(packed, 1)[0] == 0
    assert shares(plain, 1)[1] == shares(packed, 1)[1] > 0.5
    assert 0 < shares(plain, 2)[0] < shares(plain, 4)[0]
    assert make_plan(spec_over(plain, order_by_prefix=False), max_replicas=4).inputs[0].saving == 0


def test_large_inputs_are_cut_by_bytes_too(tmp_path: Path) -> None:
    rows = write(tmp_path / "a.jsonl", [{"prompt": "x" * 1000} for _ in range(400)])

    few = make_plan(spec_over(rows))
    many = make_plan(spec_over(rows), max_replicas=4)

    # 405 kB in sixteenths would be 25 kB: no shard is cut smaller than 32 KiB by its bytes.
    assert {shard.rows for shard in few.shards[:-1]} == {32}
    assert few.shards == many.shards


def test_progress_tells_all_lines_at_the_end(tmp_path: Path) -> None:
    rows = write(tmp_path / "a.jsonl", [{"prompt": "x"}] * 3)
    seen: list[int] = []

    make_plan(spec_over(rows), seen.append)

    assert seen[-1] == 3


def test_an_input_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as raised:
        make_plan(spec_over(tmp_path / "none.jsonl"))

    assert "none.jsonl" in str(raised.value)


def test_an_input_of_an_unknown_format_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")

    with pytest.raises(UsageError):
        make_plan(spec_over(tmp_path / "a.xlsx"))


def test_an_input_that_is_not_what_its_name_says_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(gzip.compress(b"{}\n"))
    (tmp_path / "b.parquet").write_bytes(b"PAR1\xff\xff\xff\xffPAR1")
    for name in ("a.jsonl", "b.parquet"):
        with pytest.raises(UsageError, match=name):
            make_plan(spec_over(tmp_path / name))


def test_an_input_that_changed_after_planning_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"prompt": "x"}])
    spec = spec_over(path)
    plan = make_plan(spec)
    write(path, [{"prompt": "longer"}])

    with pytest.raises(InputChanged) as raised:
        list(read_lines(spec, plan.inputs[0]))

    assert "a.jsonl" in str(raised.value)


def pieces_of(raws: list[bytes], **limits: int) -> list[tuple[int, int]]:
    """(rows, lines) of each piece."""
    lines = [(end, Line(end, 0, raw)) for end, raw in enumerate(raws, start=1)]
    return [(piece.rows, piece.lines) for piece, _ in cut(lines, **limits)]


def test_a_row_larger_than_a_shard_has_one_of_its_own() -> None:
    assert pieces_of([b"a" * 10, b"b" * 500, b"c"], max_rows=10, max_bytes=100) == [(1, 1)] * 3


def test_blank_lines_count_as_what_a_shard_holds() -> None:
    """Whoever reads a shard holds its blank lines, too: a file of newlines would be a shard without measure."""
    assert pieces_of([b"a", *[b""] * 1000, b"b", b""], max_rows=10, max_bytes=100) == [(1, 10), (0, 991), (1, 2)]
    assert pieces_of([b"a", *[b" " * 40] * 5, b"b"], max_rows=10, max_bytes=100) == [(1, 3), (0, 3), (1, 1)]


def test_a_stored_plan_is_read_back_and_small() -> None:
    planned = PlannedInput("file:///a.jsonl", 10**6, "etag", "jsonl", 10**6, 0)
    shards = tuple(
        Shard(index, (Span(0, Piece(index * 900, (index + 1) * 900, index, 3, 3)),)) for index in range(1000)
    )
    plan = Plan((planned,), (*shards, Shard(1000, (Span(0, Piece(1, 2, 3, 4, 5), (3, 4)),))))

    stored = encode_plan(plan)

    assert decode_plan(stored) == plan
    assert len(stored) < 40 * len(plan.shards)


@pytest.mark.parametrize(
    ("stored", "words"),
    [(b"", "damaged"), (b"{}", "damaged"), (b'{"format":4}', "format 4"), (b'{"format":1,"inputs":[[]]}', "damaged")],
)
def test_what_is_no_plan_is_told(stored: bytes, words: str) -> None:
    with pytest.raises(JobFailed) as raised:
        decode_plan(stored)

    assert words in str(raised.value)


@pytest.mark.parametrize(("rows", "first"), [(0, 3), (1, 2), (2, 2), (3, 1), (7, 0), (100, 0)])
def test_the_end_of_a_plan_holds_its_last_rows(tmp_path: Path, rows: int, first: int) -> None:
    path = write(tmp_path / "in.jsonl", [{"prompt": str(number)} for number in range(8)])
    plan = make_plan(spec_over(path, shard_rows=3))

    assert [shard.rows for shard in plan.shards] == [3, 3, 2]
    assert plan.end(rows) == first
