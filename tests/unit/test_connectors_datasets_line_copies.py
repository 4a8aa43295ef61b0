import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.datasets.line_copies import decode_lines, encode_line
from connectors.datasets.lines import Line

LINES = st.builds(
    Line,
    number=st.integers(1, 2**63),
    offset=st.integers(0, 2**63),
    raw=st.binary(max_size=40),
    problem=st.sampled_from([None, "line_too_long", "truncated", "expansion_limit", "invalid_utf8", "not_an_object"]),
    detail=st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
)


@given(lines=st.lists(LINES, max_size=5))
def test_lines_come_back_as_they_were(lines: list[Line]) -> None:
    assert list(decode_lines(b"".join(map(encode_line, lines)))) == lines


def test_a_copy_of_an_older_version_is_read() -> None:
    old = struct.pack("<QQBI", 7, 40, 2, 3) + b"{}x" + struct.pack("<QQBI", 8, 43, 0, 2) + b"{}"
    assert list(decode_lines(old)) == [Line(7, 40, b"{}x", "truncated"), Line(8, 43, b"{}")]


def test_a_copy_that_is_cut_off_is_no_shorter_copy() -> None:
    with pytest.raises(struct.error):
        list(decode_lines(encode_line(Line(1, 0, b"{}")) + b"\0"))
