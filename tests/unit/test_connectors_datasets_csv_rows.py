from collections.abc import Iterator

import pytest

from connectors.datasets.csv_rows import csv_lines
from connectors.datasets.lines import Line
from connectors.errors import UnsupportedFormat


def csv_of(content: bytes, max_line_bytes: int = 1000, block_bytes: int = 1 << 20) -> list[Line]:
    def blocks(start: int) -> Iterator[bytes]:
        return (content[at : at + block_bytes] for at in range(start, len(content), block_bytes))

    return list(csv_lines(blocks, "f.csv", max_line_bytes=max_line_bytes))


def told(lines: list[Line]) -> list[tuple[int, str | None, str]]:
    return [(line.number, line.problem, line.detail) for line in lines]


def test_csv_rows_are_objects_of_text() -> None:
    content = b'\xef\xbb\xbfid,q\r\n1,"a ""b"", c"\r\n\r\n2,"two\r\nlines"\n3, x'
    for block_bytes in (1, 5, 1000):
        assert csv_of(content, block_bytes=block_bytes) == [
            Line(1, 0, b'{"id":"1","q":"a \\"b\\", c"}'),
            Line(2, 0, b""),
            Line(3, 0, b'{"id":"2","q":"two\\nlines"}'),
            Line(4, 0, b'{"id":"3","q":" x"}'),
        ]


def test_csv_without_rows() -> None:
    assert csv_of(b"") == []
    assert csv_of(b"id,q\n") == []


def test_an_empty_cell_is_no_value() -> None:
    """CSV cannot leave a value out: an empty max_tokens is none, so that the job's holds."""
    assert [line.raw for line in csv_of(b'prompt,max_tokens\nhi,\n,5\n"",""\n')] == [
        b'{"prompt":"hi"}',
        b'{"max_tokens":"5"}',
        b"{}",
    ]


def test_a_ragged_row_says_so() -> None:
    one, three, good = csv_of(b"a,b\n1\n1,2,3\n1,2\n")
    assert told([one, three]) == [
        (1, "not_an_object", "the row has 1 values, the header 2"),
        (2, "not_an_object", "the row has 3 values, the header 2"),
    ]
    assert three.raw == b"1,2,3"
    assert good.raw == b'{"a":"1","b":"2"}'


def test_bytes_that_are_not_utf8_fail_their_row_and_name_the_column() -> None:
    bad, good = csv_of(b"id,a\n1,x\xff\n2,ok\n")
    assert told([bad]) == [(1, "invalid_utf8", "column 'a': not UTF-8: byte 0xff at byte 1 of the text")]
    assert bad.raw == b'{"id":"1"}'
    assert good.raw == b'{"id":"2","a":"ok"}'


@pytest.mark.parametrize(
    ("content", "row"),
    [
        (b"id;frage, lang;n\n1;2,5;3\n", b'{"id":"1","frage, lang":"2,5","n":"3"}'),
        (b"id\tq\n1\ta,b;c\n", b'{"id":"1","q":"a,b;c"}'),
        (b"sep=;\r\nid;q\r\n1;2,5\r\n", b'{"id":"1","q":"2,5"}'),
        (b"\xef\xbb\xbfsep=|\nid|q\n1|x\n", b'{"id":"1","q":"x"}'),
        (b'"a;b;c",d\n1,"x;y"\n', b'{"a;b;c":"1","d":"x;y"}'),
        (b"a,b;c\n1,2\n", b'{"a":"1","b;c":"2"}'),
        (b"prompt\nx;y\n", b'{"prompt":"x;y"}'),
    ],
)
def test_the_delimiter_is_found(content: bytes, row: bytes) -> None:
    for block_bytes in (1, 1000):
        assert [line.raw for line in csv_of(content, block_bytes=block_bytes)] == [row]


def test_a_row_that_is_too_long_is_one_failure() -> None:
    lines = csv_of(b"a,b\n" + b"x" * 5000 + b",2\n3,4\n", max_line_bytes=100)
    assert told(lines) == [(1, "line_too_long", ""), (2, None, "")]
    assert len(lines[0].raw) <= 256
    assert lines[1].raw == b'{"a":"3","b":"4"}'


@pytest.mark.parametrize("block_bytes", [1, 7, 64, 1000, 1 << 20])
@pytest.mark.parametrize("inside", [b"line\n", b'said ""yes"",\r\n', b'""\n', b'"",""\n', b"1,2\n"])
def test_a_cell_over_the_limit_with_line_breaks_is_one_failure(inside: bytes, block_bytes: int) -> None:
    long = b'"' + inside * 300 + b'"'
    content = b"a,b\n1,2\n3," + long + b"\n5,6\n" + long + b"," + long + b"\r\n7,8\n9," + long
    lines = csv_of(content, max_line_bytes=100, block_bytes=block_bytes)
    assert [(line.raw[:7], line.problem) for line in lines[0::2]] == [
        (b'{"a":"1', None),
        (b'{"a":"5', None),
        (b'{"a":"7', None),
    ]
    assert told(lines[1::2]) == [(2, "line_too_long", ""), (4, "line_too_long", ""), (6, "line_too_long", "")]


def test_a_field_over_the_default_limit_of_the_csv_module_passes() -> None:
    [line] = csv_of(b"a\n" + b"x" * 200_000 + b"\n", max_line_bytes=1 << 20)
    assert len(line.raw) == 200_008


def test_a_stray_quote_is_reported_and_does_not_swallow_the_file() -> None:
    for block_bytes in (7, 1 << 20):
        lines = csv_of(b'a,b\n1,"open\n' + b"5,6\n" * 200 + b'7,"x"\n', max_line_bytes=100, block_bytes=block_bytes)
        assert lines[0].problem == "line_too_long"
        assert {line.raw for line in lines[1:-1]} == {b'{"a":"5","b":"6"}'}
        assert lines[-1].raw == b'{"a":"7","b":"x"}'
        assert len(lines) > 140
    broken, good = csv_of(b'a,b\n"x"y,2\n3,4\n')
    assert (broken.problem, broken.raw) == ("not_an_object", b'"x"y,2')
    assert "not a CSV row" in broken.detail
    assert good.raw == b'{"a":"3","b":"4"}'
    [open_end] = csv_of(b'a,b\n1,"never closed\n')
    assert "not a CSV row" in open_end.detail


def test_stray_quotes_are_looked_for_once() -> None:
    """Each would search the rest of the file for its end: a file full of them would be read as often."""
    read = 0

    def blocks(start: int) -> Iterator[bytes]:
        nonlocal read
        for at in range(start, len(content), 500):
            read += 1
            yield content[at : at + 500]

    content = b"a,b\n" + (b'1,"open\n' + b"5,6\n" * 60) * 400
    lines = list(csv_lines(blocks, "f.csv", max_line_bytes=100))
    assert len(lines) > 1000
    assert read < 12 * len(content) // 500


def test_a_header_that_cannot_be_read_is_told() -> None:
    for header in (b'"x"y,2\n', b"\xff\n"):
        with pytest.raises(UnsupportedFormat, match=r"f\.csv: the header line is not CSV"):
            csv_of(header + b"1,2\n")


def test_repeated_column_names_are_refused() -> None:
    with pytest.raises(UnsupportedFormat, match=r"f\.csv.*'a' repeats"):
        csv_of(b"a,b,a\n1,2,3\n")
