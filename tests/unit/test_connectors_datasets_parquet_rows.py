import base64
import datetime as dt
import io
import json
import sys
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.datasets.lines import Line
from connectors.datasets.parquet_rows import parquet_lines
from connectors.errors import UnsupportedFormat


def parquet_of(table: pa.Table, start: int = 0, max_line_bytes: int = 1000, **options: Any) -> list[Line]:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return list(parquet_lines(stream, "f.parquet", start=start, max_line_bytes=max_line_bytes))


def test_parquet_values() -> None:
    row = {
        "text": "é\u2028",
        "none": None,
        "whole": 2**62,
        "day": dt.date(2024, 2, 29),
        "at": dt.datetime(2024, 2, 29, 1, 2, 3, 456789, tzinfo=dt.UTC),
        "time": dt.time(1, 2, 3),
        "bytes": b"\xff\x00",
        "money": Decimal("12.50"),
        "nan": float("nan"),
        "list": [{"a": 1}, {"a": 2}],
        "took": dt.timedelta(seconds=90),
        "tags": {"a": 1},
    }
    [line] = parquet_of(pa.Table.from_pylist([row]))
    present = {name: cell for name, cell in row.items() if name not in ("none", "nan")}
    assert json.loads(line.raw) == present | {
        "day": "2024-02-29",
        "at": "2024-02-29T01:02:03.456789+00:00",
        "time": "01:02:03",
        "bytes": base64.b64encode(b"\xff\x00").decode(),
        "money": "12.50",
        "took": "0:01:30",
    }


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 255, 256, 999, 1000])
@pytest.mark.parametrize("row_group_size", [10, 700, 1000])
def test_parquet_rows_from_any_row_on(start: int, row_group_size: int) -> None:
    lines = parquet_of(pa.table({"n": list(range(1000))}), start, row_group_size=row_group_size)
    assert lines == [Line(n + 1, 0, b'{"n":%d}' % n) for n in range(start, 1000)]


def of_binary(kind: pa.DataType, *cells: bytes | None) -> pa.Array:
    """A column whose text need not be UTF-8."""
    return pa.Array.from_buffers(kind, len(cells), pa.array(cells, pa.binary()).buffers())


def test_a_null_is_no_value() -> None:
    """Parquet cannot leave a key out, so that rows of several kinds in one table are full of nulls."""
    messages = [[{"role": "user", "content": "x", "name": None}, {"role": "assistant", "content": None, "name": "n"}]]
    table = pa.table(
        {"messages": [*messages, None], "prompt": [None, "x"], "n": [None, 2], "stop": [[None, "a"], None]}
        | {"format": pa.array([{"a": None}, None], pa.struct([("a", pa.int8())]))}
    )
    assert [json.loads(line.raw) for line in parquet_of(table)] == [
        {
            "messages": [{"role": "user", "content": "x"}, {"role": "assistant", "name": "n"}],
            "stop": [None, "a"],
            "format": {},
        },
        {"prompt": "x", "n": 2},
    ]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (pa.scalar(100_000_000, pa.int32()).cast(pa.date32()), "+275760-09-13"),
        (pa.scalar(-800_000, pa.int32()).cast(pa.date32()), "-0221-09-04"),
        (pa.scalar(2**50, pa.timestamp("ms")), "+37648-05-06T22:07:22.624000"),
        (pa.scalar(-(2**53), pa.timestamp("ms", "Europe/Berlin")), "-283457-03-21T16:00:59.008000+01:00"),
        (pa.scalar(1_700_000_000, pa.timestamp("s", "+05:30")), "2023-11-15T03:43:20+05:30"),
        (pa.scalar(1_700_000_000, pa.timestamp("s", "No/Where")), "2023-11-14T22:13:20+00:00"),
        (pa.scalar(1_700_000_000_000_000_001, pa.timestamp("ns")), "2023-11-14T22:13:20.000000001"),
        (pa.scalar(-1, pa.int64()).cast(pa.time64("us")), "-00:00:00.000001"),
        (pa.scalar(90_000, pa.int32()).cast(pa.time32("s")), "25:00:00"),
        (pa.scalar(2**62, pa.duration("s")), "53375995583650 days, 7:45:04"),
        (pa.scalar(-1, pa.duration("ns")), "-1 day, 23:59:59.999999999"),
        (pa.scalar(1.5, pa.float16()), 1.5),
        (pa.scalar(Decimal("-1.50"), pa.decimal256(60, 2)), "-1.50"),
    ],
)
def test_cells_that_python_cannot_hold(cell: pa.Scalar, text: object) -> None:
    [line] = parquet_of(pa.table({"c": pa.array([cell], cell.type)}))
    assert json.loads(line.raw) == {"c": text}


def test_text_that_is_not_utf8_fails_its_row_and_names_the_column() -> None:
    texts = of_binary(pa.string(), b"ok", b"\xff", None)
    first, second, third = parquet_of(pa.table({"t": texts, "n": [1, 2, 3]}))
    assert (second.problem, second.raw) == ("invalid_utf8", b'{"n":2}')
    assert second.detail == "column 't': not UTF-8: byte 0xff at byte 0 of the text"
    assert [json.loads(line.raw) for line in (first, third)] == [{"t": "ok", "n": 1}, {"n": 3}]


def test_a_bad_cell_inside_others_fails_its_row_alone() -> None:
    texts = of_binary(pa.string(), b"ok", b"ok", b"x\xff")
    nested = pa.ListArray.from_arrays([0, 1, 3], pa.StructArray.from_arrays([texts], ["text"]))
    good, bad = parquet_of(pa.table({"id": ["a", "b"], "messages": nested}))
    assert json.loads(good.raw) == {"id": "a", "messages": [{"text": "ok"}]}
    assert (bad.problem, bad.raw) == ("invalid_utf8", b'{"id":"b"}')
    assert bad.detail == "column 'messages': not UTF-8: byte 0xff at byte 1 of the text"


def test_maps_are_objects() -> None:
    kind = pa.map_(pa.string(), pa.map_(pa.int32(), pa.string()))
    cells: list[object] = [[("a", [(1, "x")]), ("b", None)], [], None, [("a", []), ("a", [])]]
    first, empty, none, twice = parquet_of(pa.table({"m": pa.array(cells, kind)}))
    assert json.loads(first.raw) == {"m": {"a": {"1": "x"}, "b": None}}
    assert (empty.raw, none.raw) == (b'{"m":{}}', b"{}")
    assert (twice.problem, twice.detail) == ("malformed_json", "column 'm': the key 'a' stands twice in one map")


def test_only_the_columns_that_are_needed_are_read() -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"a": ["x"], "b.c": ["y"], "d": [{"e": 1}], "image": [b"0" * 5000]}), stream)

    def chosen(names: Sequence[str]) -> list[str]:
        return [name for name in names if name in ("b.c", "d", "absent")]

    lines = list(parquet_lines(stream, "f", start=0, max_line_bytes=1000, columns=chosen))
    assert lines == [Line(1, 0, b'{"b.c":"y","d":{"e":1}}')]
    lines = list(parquet_lines(stream, "f", start=0, max_line_bytes=1000, columns=lambda _: []))
    assert lines == [Line(1, 0, b"{}")]


def test_twice_as_many_columns_are_twice_the_work() -> None:
    def calls(columns: int) -> int:
        stream, counted = io.BytesIO(), Counter[str]()
        pq.write_table(pa.table({f"c{n}": [n] for n in range(columns)}), stream)
        sys.setprofile(lambda _frame, event, _argument: counted.update([event]))
        try:
            list(parquet_lines(stream, "f.parquet", start=0, max_line_bytes=10_000))
        finally:
            sys.setprofile(None)
        return counted["call"]

    calls(10)  # which imports what is imported late
    assert calls(400) < 2.5 * calls(200)


def test_a_row_that_is_too_long_shows_its_short_cells() -> None:
    lines = parquet_of(pa.table({"id": ["a", "b"], "t": ["x" * 5000, "y"]}))
    assert [(line.raw, line.problem) for line in lines] == [
        (b'{"id":"a"}', "line_too_long"),
        (b'{"id":"b","t":"y"}', None),
    ]


def test_a_row_that_is_too_long_by_its_many_short_cells_shows_the_first_of_them() -> None:
    table = pa.table({f"c{n}": ["x" * 90, "y"] for n in range(30)})
    long, short = parquet_of(table)
    whole = b",".join(b'"c%d":"%s"' % (n, b"x" * 90) for n in range(30))
    assert long == Line(1, 0, b"{" + whole[:255], "line_too_long")
    assert short.problem is None


MEBIBYTE = "x" * (1 << 20)


@pytest.mark.parametrize("is_dictionary", [False, True])
def test_rows_that_are_all_too_long_are_each_looked_at_without_the_others(is_dictionary: bool) -> None:
    """Hours, when each was looked at with all the children or texts of its batch."""
    rows = 40_000
    ids = [f"{n:08d}" for n in range(rows)]
    column = pa.array(ids).dictionary_encode() if is_dictionary else pa.array([[text] * 8 for text in ids])

    lines = parquet_of(pa.table({"id": ids, "x": column}), max_line_bytes=20)

    shown = b'{"id":"%b"' if is_dictionary else b'{"id":"%b","x":["%b"'
    assert [line.problem for line in lines] == ["line_too_long"] * rows
    assert all(line.raw.startswith(shown.replace(b"%b", text.encode())) for line, text in zip(lines, ids, strict=True))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[0] * 20_000_000], pa.list_(pa.int64())),
        pa.nulls(30_000_000, pa.int8()),
    ],
    ids=["numbers", "nulls"],
)
def test_a_file_that_expands_beyond_measure_is_read_up_to_there(column: pa.Array) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"c": column}), stream, compression="zstd")
    last = None
    for number, line in enumerate(parquet_lines(stream, "f", start=0, max_line_bytes=10 << 20), start=1):
        assert line.number == number
        assert last is None or last.problem is None
        last = line
    assert last is not None
    assert last.problem == "expansion_limit"
    assert "more than 200 times its size" in last.detail
    # Whoever begins later, as engines do, finds the same end.
    [again] = parquet_lines(stream, "f", start=last.number - 1, max_line_bytes=10 << 20)
    assert again == last


@pytest.mark.parametrize(
    ("column", "rows", "is_too_long"),
    [
        (pa.array([f"{n} repeats " * 1000 for n in range(8)] * 1000), 8000, False),
        (pa.array([[{"role": "user", "content": f"{n} repeats " * 1000}] for n in range(8)] * 1000), 8000, False),
        (pa.array([b"x" * (1 << 20)] * 100, pa.binary(1 << 20)), 100, False),
        (pa.array([[{"content": MEBIBYTE}] * 300]), 1, True),
    ],
    ids=["text", "messages", "fixed", "too long"],
)
def test_texts_that_rows_have_in_common_may_be_any_number_of_times_their_file(
    column: pa.Array, rows: int, is_too_long: bool
) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"c": column}), stream, compression="zstd")
    assert column.nbytes > (64 << 20) + 200 * len(stream.getvalue())

    problems = [line.problem for line in parquet_lines(stream, "f", start=0, max_line_bytes=10 << 20)]

    assert problems == ["line_too_long" if is_too_long else None] * rows


@pytest.mark.parametrize("row_group_size", [100, 1000])
def test_texts_in_dictionaries_and_beside_them_are_the_same(row_group_size: int) -> None:
    texts = [f"{n % 7} repeats" if n % 3 else f"{n} is alone " * 20 for n in range(1000)]
    table = pa.table({"t": texts, "m": [[{"c": text}, {"c": None}] for text in texts]})
    lines = parquet_of(table, row_group_size=row_group_size, dictionary_pagesize_limit=500, data_page_size=2000)
    assert [json.loads(line.raw) for line in lines] == [{"t": t, "m": [{"c": t}, {}]} for t in texts]


def test_an_extension_type_is_read_as_what_it_is_stored_as() -> None:
    uuids = pa.array([b"0123456789abcdef", None], pa.uuid())
    tensors = pa.FixedShapeTensorArray.from_storage(
        pa.fixed_shape_tensor(pa.int8(), [2]), pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2))
    )
    first, second = parquet_of(pa.table({"u": uuids, "t": tensors}))
    assert json.loads(first.raw) == {"u": "30313233-3435-3637-3839-616263646566", "t": [1, 2]}
    assert json.loads(second.raw) == {"t": [3, 4]}


def test_a_struct_with_two_members_of_one_name_is_refused() -> None:
    twice = pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])
    with pytest.raises(UnsupportedFormat, match=r"f\.parquet: column 'c': column names must differ, 'a' repeats"):
        parquet_of(pa.table({"c": twice}))


def test_repeated_column_names_are_refused() -> None:
    with pytest.raises(UnsupportedFormat, match=r"f\.parquet.*'a' repeats"):
        parquet_of(pa.table([[1], [2]], names=["a", "a"]))


def test_a_file_that_is_no_parquet_is_refused() -> None:
    with pytest.raises(UnsupportedFormat, match=r"f\.parquet is not a readable Parquet file"):
        list(parquet_lines(io.BytesIO(b"not a table" * 10), "f.parquet", start=0, max_line_bytes=10))


def test_a_column_that_is_shorter_than_its_group_is_told() -> None:
    """Arrow would end there, without a word."""
    stream = io.BytesIO()
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False, "store_schema": False}
    pq.write_table(pa.table({"a": [1, 2]}), stream, **options)
    of_group = b"\x16\x52\x16%c\x26\x08"  # its size, its rows (twice their number), where it starts
    damaged = stream.getvalue().replace(of_group % 4, of_group % 6)
    assert damaged != stream.getvalue()
    with pytest.raises(UnsupportedFormat, match=r"f\.parquet is damaged: row group 0 has 3 rows, of a column 2"):
        list(parquet_lines(io.BytesIO(damaged), "f.parquet", start=0, max_line_bytes=1000))


def test_damage_names_the_file_and_its_fault() -> None:
    """Mutants of a good file: each is read as far as its format can tell, or refused in one sentence."""
    random, stream = Random(1), io.BytesIO()
    rows = [{"custom_id": str(n), "messages": [{"role": "user", "content": f"{n}?" * n}]} for n in range(50)]
    pq.write_table(pa.Table.from_pylist(rows), stream, row_group_size=20)
    refusals = []
    for _ in range(300):
        damaged = bytearray(stream.getvalue())
        for _ in range(random.randint(1, 4)):
            damaged[random.randrange(len(damaged))] = random.randrange(256)
        try:
            for line in parquet_lines(io.BytesIO(damaged), "f.parquet", start=0, max_line_bytes=1000):
                assert line.problem or line.raw
        except UnsupportedFormat as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert [told for told in refusals if not told.startswith("f.parquet") or "\n" in told] == []
