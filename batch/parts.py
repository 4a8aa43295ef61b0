"""The bytes of a part: result lines as JSONL, or as Parquet with the columns that people query.

Either way the lines come back byte for byte. Knows nothing of keys and stores.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Literal

import orjson

PartFormat = Literal["jsonl", "parquet"]

_PARQUET_SUFFIX = ".parquet"
_COLUMNS = ("custom_id", "text", "finish_reason", "prompt_tokens", "completion_tokens", "body", "line")


def encode_part(lines: Sequence[bytes], part_format: PartFormat) -> bytes:
    """Return the whole part: one line each, in the given order."""
    if part_format == "jsonl":
        return b"\n".join(lines) + b"\n"
    return _parquet(lines)


def decode_part(content: bytes, key: str) -> Iterator[bytes]:
    """Yield the lines of a part, without newline; its key tells the format."""
    if not key.endswith(_PARQUET_SUFFIX):
        yield from content[:-1].split(b"\n")
        return
    import pyarrow.parquet as pq

    for line in pq.read_table(io.BytesIO(content), columns=["line"]).column("line"):
        yield line.as_py().encode()


def _parquet(lines: Sequence[bytes]) -> bytes:
    """Columns: custom_id, text and finish_reason of the first choice, token counts, the body and the whole line."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [_row(line) for line in lines]
    types = [pa.string(), pa.string(), pa.string(), pa.int64(), pa.int64(), pa.string(), pa.string()]
    columns = [pa.array(column, kind) for column, kind in zip(zip(*rows, strict=True), types, strict=True)]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays(columns, names=list(_COLUMNS)), sink, compression="zstd")
    return sink.getvalue()


def _row(line: bytes) -> tuple[str | None, str | None, str | None, int | None, int | None, str, str]:
    result = orjson.loads(line)
    body = result["response"]["body"]
    usage = body.get("usage") or {}
    choice = (body.get("choices") or [{}])[0]
    text = choice.get("text", (choice.get("message") or {}).get("content"))
    return (
        result["custom_id"],
        text,
        choice.get("finish_reason"),
        usage.get("prompt_tokens"),
        usage.get("completion_tokens"),
        orjson.dumps(body).decode(),
        line.decode(),
    )
