"""Pieces of a file, cut anywhere, hold every line once, and read the same as the whole."""

import io
import tempfile

import pyarrow as pa
import pyarrow.parquet as pq
from dataset_files import PACKERS, expected_lines, pieces_of, written
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.datasets.kinds import check_kind
from connectors.datasets.lines import Line, LineSplitter
from connectors.datasets.reader import InputFile, PieceReader, scan
from connectors.errors import UnsupportedFormat

MAX_LINE_BYTES = 300
FRAGMENTS = [
    b"\n",
    b"\r\n",
    b"\r",
    b"\xef\xbb\xbf",
    b"{}",
    b" ",
    b"\xe2\x80\xa8",
    b"a" * 299,
    b"b" * 700,
    b"\xff",
    b"\0",
]


def begins_as_lines(content: bytes) -> bool:
    """Whether a file may be one of lines: what begins as another format is refused as a whole, see kinds' own tests."""
    try:
        check_kind(content, "jsonl", "f")
    except UnsupportedFormat:
        return False
    return True


fragments = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.binary(max_size=5)), max_size=40)
contents = fragments.map(b"".join).filter(begins_as_lines)
cuts = st.lists(st.booleans(), min_size=120, max_size=120)
quick = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


def assert_pieces_cover(file: InputFile, cut_after: list[bool], backwards: bool) -> list[Line]:
    scanned = list(scan(file, max_line_bytes=MAX_LINE_BYTES))
    pieces = pieces_of(scanned, cut_after)
    reader = PieceReader(max_line_bytes=MAX_LINE_BYTES)
    order = list(reversed(pieces)) if backwards else pieces
    read = {piece.start: reader.read(file, piece) for piece in order}
    assert [line for start in sorted(read) for line in read[start]] == [line for _, line in scanned]
    return [line for _, line in scanned]


@quick
@given(contents, cuts, st.booleans())
def test_plain_pieces_cover_every_byte_once(content: bytes, cut_after: list[bool], backwards: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = written(folder, "f.jsonl", content)
        assert assert_pieces_cover(file, cut_after, backwards) == expected_lines(content, max_line_bytes=MAX_LINE_BYTES)
        ends = [end for end, _ in scan(file, max_line_bytes=MAX_LINE_BYTES)]
        assert ends[-1:] == [len(content)][: len(ends)]


@quick
@given(contents, st.lists(st.integers(1, 50), max_size=100))
def test_blocks_may_be_cut_anywhere(content: bytes, sizes: list[int]) -> None:
    blocks, at = [], 0
    for size in sizes:
        blocks.append(content[at : at + size])
        at += size
    blocks.append(content[at:])
    lines = [line for _, line in LineSplitter(max_line_bytes=MAX_LINE_BYTES).split(iter(blocks))]
    assert lines == expected_lines(content, max_line_bytes=MAX_LINE_BYTES)


@quick
@given(contents, cuts, st.booleans(), st.sampled_from(["jsonl.gz", "jsonl.zst"]))
def test_compressed_pieces_read_as_the_plain_text(
    content: bytes, cut_after: list[bool], backwards: bool, kind: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = written(folder, f"f.{kind}", PACKERS[kind](content))
        assert assert_pieces_cover(file, cut_after, backwards) == expected_lines(content, max_line_bytes=MAX_LINE_BYTES)


@settings(quick, max_examples=40)
@given(st.lists(st.one_of(st.none(), st.text(max_size=20)), max_size=60), st.integers(1, 70), cuts, st.booleans())
def test_parquet_pieces(values: list[str | None], group: int, cut_after: list[bool], backwards: bool) -> None:
    stream = io.BytesIO()
    pq.write_table(pa.table({"t": pa.array(values, pa.string())}), stream, row_group_size=group)
    with tempfile.TemporaryDirectory() as folder:
        lines = assert_pieces_cover(written(folder, "f.parquet", stream.getvalue()), cut_after, backwards)
    assert [line.number for line in lines] == list(range(1, len(values) + 1))


@settings(quick, max_examples=80)
@given(st.lists(st.sampled_from(["1,2", "", '"a\nb",c', "x", '"', '"a"b,c', "é,\0", "z" * 400]), max_size=30), cuts)
def test_csv_pieces(rows: list[str], cut_after: list[bool]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = written(folder, "f.csv", "\n".join(["a,b", *rows]).encode())
        lines = assert_pieces_cover(file, cut_after, backwards=False)
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
