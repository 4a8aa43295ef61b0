import tracemalloc
from collections.abc import Iterator

import pytest

from connectors.datasets.lines import CutShort, Line, LineSplitter


def lines_of(*blocks: bytes, max_line_bytes: int = 1000) -> list[tuple[int, Line]]:
    return list(LineSplitter(max_line_bytes=max_line_bytes).split(iter(blocks)))


def raws(*blocks: bytes) -> list[bytes]:
    return [line.raw for _, line in lines_of(*blocks)]


def test_newlines_only_split() -> None:
    text = "a\u2028b\u2029c\x85d\x0be\rf\n".encode()
    assert raws(text) == [text[:-1]]


def test_ends_numbers_and_offsets() -> None:
    assert lines_of(b"ab\r\n\ncd") == [(4, Line(1, 0, b"ab")), (5, Line(2, 4, b"")), (7, Line(3, 5, b"cd"))]


def test_one_trailing_return_is_taken_off() -> None:
    assert raws(b"a\r\r\nb\r\n\r\nc\r") == [b"a\r", b"b", b"", b"c"]


def test_the_mark_at_the_beginning_only() -> None:
    assert raws(b"\xef\xbb", b"\xbfa\n\xef\xbb\xbfb\n") == [b"a", b"\xef\xbb\xbfb"]
    assert lines_of(b"\xef\xbb\xbf\n") == [(4, Line(1, 0, b""))]


def test_empty_and_blank() -> None:
    assert lines_of() == []
    assert lines_of(b"") == []
    assert [line.is_blank for _, line in lines_of(b"\n \t\r\n\x0b\x0c\na\n\xc2\xa0\n")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert not Line(1, 0, b"", "truncated").is_blank


def test_the_limit_counts_the_line_alone() -> None:
    assert lines_of(b"\xef\xbb\xbf12345\r\n", max_line_bytes=5) == [(10, Line(1, 0, b"12345"))]
    assert lines_of(b"123456\n", max_line_bytes=5) == [(7, Line(1, 0, b"123456", "line_too_long"))]


def test_a_too_long_line_keeps_its_beginning_and_its_neighbours() -> None:
    long = b"x" * 5000
    blocks = [b"a\n" + long, long, long + b"\nb\n"]
    assert lines_of(*blocks) == [
        (2, Line(1, 0, b"a")),
        (15003, Line(2, 2, b"x" * 256, "line_too_long")),
        (15005, Line(3, 15003, b"b")),
    ]


def test_a_line_of_a_gigabyte_is_skipped_in_bounded_memory() -> None:
    block = b"x" * (1 << 20)

    def blocks() -> Iterator[bytes]:
        for _ in range(1024):
            yield block
        yield b"\nlast"

    tracemalloc.start()
    found = list(LineSplitter(max_line_bytes=2 << 20).split(blocks()))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [
        (1 + (1 << 30), Line(1, 0, b"x" * 256, "line_too_long")),
        (5 + (1 << 30), Line(2, 1 + (1 << 30), b"last")),
    ]
    assert peak_bytes < 8 << 20


@pytest.mark.parametrize("pending", [b"", b"par"])
def test_a_source_cut_short_is_a_last_line(pending: bytes) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"a\n" + pending
        raise CutShort("truncated")

    assert list(LineSplitter(max_line_bytes=10).split(blocks())) == [
        (2, Line(1, 0, b"a")),
        (2 + len(pending), Line(2, 2, pending, "truncated")),
    ]


def test_a_later_part_of_a_file() -> None:
    splitter = LineSplitter(max_line_bytes=10, first_line=7, first_offset=100)
    assert list(splitter.split(iter([b"\xef\xbb\xbfa\nb"]))) == [
        (105, Line(7, 100, b"\xef\xbb\xbfa")),
        (106, Line(8, 105, b"b")),
    ]
