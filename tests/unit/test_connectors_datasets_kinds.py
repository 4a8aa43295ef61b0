import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from dataset_files import written

from connectors.datasets.reader import scan
from connectors.errors import UnsupportedFormat

ROW = b'{"custom_id": "a", "body": {"prompt": "x"}}'
LINES = ROW + b"\n" + ROW.replace(b'"a"', b'"b"') + b"\n"
PRETTY = b'{\n  "custom_id": "a",\n  "body": {}\n}\n'


def parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"prompt": ["x"]}), stream)
    return stream.getvalue()


def scanned(folder: Path, name: str, content: bytes) -> int:
    return sum(1 for _ in scan(written(folder, name, content), max_line_bytes=1000))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "f.jsonl",
            gzip.compress(LINES, mtime=0),
            "is no .jsonl file: it holds gzip; give it a name that ends in .jsonl.gz",
        ),
        ("f.jsonl", zstandard.compress(LINES), "it holds zstd; give it a name that ends in .jsonl.zst"),
        ("f.jsonl", parquet(), "it holds Parquet; give it a name that ends in .parquet"),
        ("f.csv", b"PK\x03\x04" + bytes(50), "it holds a ZIP archive"),
        ("f.csv", gzip.compress(b"a,b\n1,2\n", mtime=0), "it holds gzip"),
        ("f.jsonl.gz", zstandard.compress(LINES), "it holds zstd"),
        ("f.jsonl.zst", gzip.compress(LINES, mtime=0), "it holds gzip"),
        ("f.jsonl.gz", LINES, "it holds plain text"),
        ("f.parquet", LINES, "it holds plain text"),
        ("f.jsonl", LINES.decode().encode("utf-16"), "is UTF-16 text, not UTF-8; convert it: iconv -f UTF-16 -t UTF-8"),
        ("f.jsonl", LINES.decode().encode("utf-16-le"), "is UTF-16 text"),
        ("f.jsonl", LINES.decode().encode("utf-32"), "is UTF-32 text"),
        ("f.csv", "prompt,n\né,1\n".encode("utf-16"), "is UTF-16 text"),
        ("f.jsonl.gz", gzip.compress(LINES.decode().encode("utf-16"), mtime=0), "is UTF-16 text"),
        ("f.jsonl", PRETTY * 2, "holds JSON objects over several lines, not one object a line; convert it: jq -c ."),
        ("f.jsonl", b"\xef\xbb\xbf\n" + PRETTY, "holds JSON objects over several lines"),
        (
            "f.jsonl",
            b"[\n" + ROW + b",\n" + ROW + b"\n]\n",
            "holds one JSON array, not one object a line; convert it: jq -c '.[]'",
        ),
        ("f.jsonl", b"[" + ROW + b",\n" + ROW + b"]", "holds one JSON array"),
        ("f.jsonl", b"[" + ROW + b", " + ROW + b"]", "holds one JSON array"),
        ("f.jsonl", b"[" + (ROW + b",") * 50_000 + b"{}]", "holds one JSON array"),
        ("f.jsonl.zst", zstandard.compress(b"[\n  " + PRETTY + b"]"), "holds one JSON array"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_told_once(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    with pytest.raises(UnsupportedFormat) as refusal:
        scanned(tmp_path, name, content)
    assert str(refusal.value).startswith(f"file://{tmp_path}/{name} ")
    assert words in str(refusal.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"[1, 2]\n" + LINES,
        b"[" + ROW + b", " + ROW + b"]\n" + LINES,
        b"[" + ROW + b", " + ROW[:9] + b"\n" + LINES,
        b'{"custom_id": "cut", "body": {\n' + LINES,
        b"{\n" + LINES,
        b"[\n" + LINES,
        b"[" * 5000 + b"\n" + LINES,
        b'{"a":' * 5000 + b"\n" + LINES,
        b"\xff\xfe" + LINES,
        b"\x1f\x8b\n" + LINES,
        bytes(20) + LINES,
    ],
)
def test_lines_with_bad_ones_among_them_stay_lines(tmp_path: Path, content: bytes) -> None:
    assert scanned(tmp_path, "f.jsonl", content) == len(content.splitlines())


def test_a_damaged_file_is_of_its_kind(tmp_path: Path) -> None:
    for name, content in (("f.jsonl.gz", gzip.compress(LINES, mtime=0)), ("f.jsonl.zst", zstandard.compress(LINES))):
        for at in range(8):
            damaged = bytearray(content)
            damaged[at] ^= 0x55
            assert scanned(tmp_path, name, bytes(damaged)) >= 1
