"""What a file holds, told by its first bytes, where that is plainly not what its name says. Knows nothing of stores."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress

import orjson

from connectors.datasets.compression import decompressed
from connectors.datasets.lines import CutShort
from connectors.errors import UnsupportedFormat

HEAD_BYTES = 1 << 20

_MAGIC = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
    b"PK\x03\x04": "a ZIP archive (as Excel's workbooks are)",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
}
_BY_NAME = {"jsonl.gz": "gzip", "jsonl.zst": "zstd", "parquet": "Parquet"}
_ENDINGS = {"gzip": ".jsonl.gz", "zstd": ".jsonl.zst", "Parquet": ".parquet"}
_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_UNMARKED_BYTES = 16
_PLAIN = re.compile(rb"[\t\r\n -~]{2,}\Z")

_ARRAY, _OBJECTS = "one JSON array", "JSON objects over several lines"
_CURES = {_ARRAY: "jq -c '.[]' OLD > NEW", _OBJECTS: "jq -c . OLD > NEW"}


def check_kind(head: bytes, kind: str, name: str) -> None:
    """Raise UnsupportedFormat for a file that is told by its beginning, up to a mebibyte, to be of another format."""
    is_text = _is_text(head)
    found = "plain text" if is_text and kind in _BY_NAME else _packed_as(head) if not is_text else None
    if found is not None and found != _BY_NAME.get(kind):
        cure = f"give it a name that ends in {_ENDINGS[found]}" if found in _ENDINGS else "convert or rename it"
        raise UnsupportedFormat(f"{name} is no .{kind} file: it holds {found}; {cure}")
    if kind == "parquet":
        return
    text = _unpacked(head, kind.rpartition(".")[2]) if kind in _BY_NAME else head
    encoding = _wide_encoding(text)
    if encoding is not None:
        cure = f"convert it: iconv -f {encoding} -t UTF-8 OLD > NEW"
        raise UnsupportedFormat(f"{name} is {encoding} text, not UTF-8; {cure}")
    whole = None if kind == "csv" else _whole_json(text)
    if whole is not None:
        raise UnsupportedFormat(f"{name} holds {whole}, not one object a line; convert it: {_CURES[whole]}")


def _packed_as(head: bytes) -> str | None:
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def _is_text(head: bytes) -> bool:
    """Whether a file begins as JSON and CSV do, which no packed file does."""
    return bool(_PLAIN.match(head[:100]))


def _unpacked(head: bytes, suffix: str) -> bytes:
    with suppress(CutShort):
        return next(decompressed(iter([head]), suffix), b"")
    return b""


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32, by its mark, or by a NUL beside each of the first characters."""
    marked = next((kind for mark, kind in _MARKS.items() if head.startswith(mark) and b"\0" in head[2:6]), None)
    begins = head[:_UNMARKED_BYTES]
    halves = [begins[0::2], begins[1::2]]
    is_wide = any(not half.strip(b"\0") for half in halves) and any(map(_is_text, halves))
    return marked or ("UTF-16" if is_wide and len(begins) == _UNMARKED_BYTES else None)


def _whole_json(head: bytes) -> str | None:
    """Say what JSON the text begins with, where that is no object within its first line."""
    text = head.decode("utf-8-sig", "ignore").strip()
    with suppress(orjson.JSONDecodeError):
        if isinstance(orjson.loads(text.partition("\n")[0]), dict):
            return None
    with suppress(ValueError, RecursionError):
        if text.startswith("{"):
            _, end = json.JSONDecoder().raw_decode(text)
            return _OBJECTS if "\n" in text[:end] else None
        if text.startswith("["):
            return _ARRAY if _is_array_of_objects(text) else None
    return None


def _is_array_of_objects(text: str) -> bool:
    """Whether an array goes over the end of the first line, or is all that there is. Raises ValueError for no JSON."""
    first_line_end = text.find("\n") if "\n" in text else 0
    for value, at in _elements(text):
        if not isinstance(value, dict):
            return False
        is_last = text.startswith("]", at)
        if at > first_line_end:
            return is_last or text.startswith(",", at)
        if is_last:
            return not text[at + 1 :]
    return False


def _elements(text: str) -> Iterator[tuple[object, int]]:
    """Yield the elements of an array, each with where the sign after it stands."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text) and text[at] in "[,":
        start = at + 1 + _spaces(text, at + 1)
        value, end = decoder.raw_decode(text, start)
        at = end + _spaces(text, end)
        yield value, at


def _spaces(text: str, at: int) -> int:
    """How many spaces and line ends stand there."""
    end = at
    while end < len(text) and text[end] in " \t\r\n":
        end += 1
    return end - at
