import base64
import datetime as dt
import io
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from connectors.errors import UnsupportedFormat
from connectors.lines import Line
from connectors.tables import csv_lines, parquet_lines


def csv_of(content: bytes, max_line_bytes: int = 1000, block_bytes: int = 1 << 20) -> list[Line]:
    blocks: Iterator[bytes] = (content[at : at + block_bytes] for at in range(0, len(content), block_bytes))
    return list(csv_lines(blocks, "f.csv", max_line_bytes=max_line_bytes))


def parquet_of(table: pa.Table, start: int = 0, max_line_bytes: int = 1000, **options: Any) -> list[Line]:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return list(parquet_lines(stream, "f.parquet", start=start, max_line_bytes=max_line_bytes))


def test_csv_rows_are_objects_of_text() -> None:
    content = b'\xef\xbb\xbfid,q\r\n1,"a ""b"", c"\r\n\r\n2,"two\nlines"\n3,'
    for block_bytes in (1, 5, 1000):
        assert csv_of(content, block_bytes=block_bytes) == [
            Line(1, 0, b'{"id":"1","q":"a \\"b\\", c"}'),
            Line(2, 0, b""),
            Line(3, 0, b'{"id":"2","q":"two\\nlines"}'),
            Line(4, 0, b'{"id":"3","q":""}'),
        ]


def test_csv_without_rows() -> None:
    assert csv_of(b"") == []
    assert csv_of(b"id,q\n") == []


def test_a_ragged_csv_row_is_not_an_object() -> None:
    assert [line.raw for line in csv_of(b"a,b\n1\n1,2,3\n1,2\n")] == [b'["1"]', b'["1","2","3"]', b'{"a":"1","b":"2"}']


def test_csv_bytes_that_are_not_utf8_stay_as_they_are() -> None:
    assert [line.raw for line in csv_of(b"a\n\xff\nok\n")] == [b'{"a": "\xff"}', b'{"a":"ok"}']


def test_a_csv_row_that_is_too_long_is_one_failure() -> None:
    lines = csv_of(b"a,b\n" + b"x" * 5000 + b",2\n3,4\n", max_line_bytes=100)
    assert [(line.number, line.problem) for line in lines] == [(1, "line_too_long"), (2, None)]
    assert len(lines[0].raw) <= 256
    assert lines[1].raw == b'{"a":"3","b":"4"}'


def test_a_field_over_the_default_limit_of_the_csv_module_passes() -> None:
    [line] = csv_of(b"a\n" + b"x" * 200_000 + b"\n", max_line_bytes=1 << 20)
    assert len(line.raw) == 200_008


def test_a_stray_quote_is_reported_and_does_not_swallow_the_file() -> None:
    lines = csv_of(b'a,b\n1,"open\n' + b"5,6\n" * 200, max_line_bytes=100)
    assert lines[0].problem == "line_too_long"
    assert lines[-1].raw == b'{"a":"5","b":"6"}'
    assert len(lines) > 140
    broken, good = csv_of(b'a,b\n"x"y,2\n3,4\n')
    assert b"not a CSV row" in broken.raw
    assert good.raw == b'{"a":"3","b":"4"}'
    [open_end] = csv_of(b'a,b\n1,"never closed\n')
    assert b"not a CSV row" in open_end.raw


def test_repeated_column_names_are_refused() -> None:
    with pytest.raises(UnsupportedFormat, match=r"f\.csv.*'a' repeats"):
        csv_of(b"a,b,a\n1,2,3\n")
    with pytest.raises(UnsupportedFormat, match=r"f\.parquet.*'a' repeats"):
        parquet_of(pa.table([[1], [2]], names=["a", "a"]))


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
    }
    [line] = parquet_of(pa.Table.from_pylist([row]))
    assert json.loads(line.raw) == row | {
        "day": "2024-02-29",
        "at": "2024-02-29T01:02:03.456789+00:00",
        "time": "01:02:03",
        "bytes": base64.b64encode(b"\xff\x00").decode(),
        "money": "12.50",
        "nan": None,
        "took": "0:01:30",
    }


@pytest.mark.parametrize("start", [0, 1, 9, 10, 11, 255, 256, 999, 1000])
@pytest.mark.parametrize("row_group_size", [10, 700, 1000])
def test_parquet_rows_from_any_row_on(start: int, row_group_size: int) -> None:
    lines = parquet_of(pa.table({"n": list(range(1000))}), start, row_group_size=row_group_size)
    assert lines == [Line(n + 1, 0, b'{"n":%d}' % n) for n in range(start, 1000)]


def test_parquet_text_that_is_not_utf8_fails_its_row_alone() -> None:
    texts = pa.Array.from_buffers(pa.string(), 3, pa.array([b"ok", b"\xff", None], pa.binary()).buffers())
    lines = parquet_of(pa.table({"t": texts, "n": [1, 2, 3]}))
    assert lines[1].raw == b'{"t": "\xff", "n": 2}'
    assert [json.loads(line.raw) for line in (lines[0], lines[2])] == [{"t": "ok", "n": 1}, {"t": None, "n": 3}]


def test_a_parquet_row_that_is_too_long() -> None:
    lines = parquet_of(pa.table({"t": ["x" * 5000, "y"]}))
    assert [(len(line.raw), line.problem) for line in lines] == [(256, "line_too_long"), (9, None)]


def test_a_file_that_is_no_parquet_is_refused() -> None:
    with pytest.raises(UnsupportedFormat, match=r"f\.parquet is not a readable Parquet file"):
        list(parquet_lines(io.BytesIO(b"not a table" * 10), "f.parquet", start=0, max_line_bytes=10))
