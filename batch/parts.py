"""The bytes of a part: lines as JSONL, or as Parquet with the columns that people query.

Either way the lines come back byte for byte. Knows nothing of keys and stores.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

_PARQUET_SUFFIX = ".parquet"
_COLUMNS = (
    "custom_id",
    "text",
    "finish_reason",
    "prompt_tokens",
    "completion_tokens",
    "usage",
    "error",
    "body",
    "line",
)
_ERROR_FIELDS = ("code", "message", "field", "file", "line", "offset")


@dataclass(frozen=True, slots=True)
class PartFormat:
    """How lines are stored. `carried`: the fields of the input rows that have a column in Parquet."""

    name: Literal["jsonl", "parquet"]
    carried: tuple[str, ...] = ()


JSONL = PartFormat("jsonl")


def encode_part(lines: Sequence[bytes], part_format: PartFormat) -> bytes:
    """Return the whole part: one line each, in the given order."""
    if part_format.name == "jsonl":
        return b"\n".join(lines) + b"\n"
    return _parquet(lines, part_format.carried)


def decode_part(content: bytes, key: str) -> Iterator[bytes]:
    """Yield the lines of a part, without newline; its key tells the format."""
    if not key.endswith(_PARQUET_SUFFIX):
        yield from content[:-1].split(b"\n")
        return
    import pyarrow.parquet as pq

    for line in pq.read_table(io.BytesIO(content), columns=["line"]).column("line"):
        yield line.as_py().encode()


def _parquet(lines: Sequence[bytes], carried: Sequence[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    text, number = pa.string(), pa.int64()
    usage = pa.struct({"prompt_tokens": number, "completion_tokens": number, "cached_tokens": number})
    error = pa.struct({name: number if name in ("line", "offset") else text for name in _ERROR_FIELDS})
    types = (text, text, text, number, number, usage, error, text, text)
    fields = [*zip(_COLUMNS, types, strict=True), *((column_of(field), text) for field in carried)]
    # The same columns and types in every part of a job, results and errors: a folder of them reads as one table.
    rows = [_row(line, carried) for line in lines]
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), sink, compression="zstd")
    return sink.getvalue()


def column_of(field: str) -> str:
    """Return the name of a carried field's column: its own, unless one of ours has it."""
    return f"metadata.{field}" if field in _COLUMNS else field


def _row(line: bytes, carried: Sequence[str]) -> dict[str, Any]:
    """The columns of a line; `text` and `finish_reason` are of the first choice, or of the response."""
    result = orjson.loads(line)
    body = (result["response"] or {}).get("body")
    answer = body if isinstance(body, dict) else {}
    usage = _usage(answer.get("usage") or {})
    choice = (answer.get("choices") or [{}])[0]
    metadata = result.get("metadata") or {}
    return {
        "custom_id": result["custom_id"],
        "text": _response_text(answer) or choice.get("text", (choice.get("message") or {}).get("content")),
        "finish_reason": choice.get("finish_reason"),
        "prompt_tokens": usage.get("prompt_tokens"),
        "completion_tokens": usage.get("completion_tokens"),
        "usage": usage or None,
        "error": result["error"],
        "body": None if body is None else orjson.dumps(body).decode(),
        "line": line.decode(),
        **{column_of(field): _as_text(metadata.get(field)) for field in carried},
    }


def _usage(usage: dict[str, Any]) -> dict[str, Any]:
    """The tokens of an answer, by the names that chat completions have; /v1/responses has others."""
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return usage and {
        "prompt_tokens": usage.get("prompt_tokens", usage.get("input_tokens")),
        "completion_tokens": usage.get("completion_tokens", usage.get("output_tokens")),
        "cached_tokens": details.get("cached_tokens"),
    }


def _response_text(answer: dict[str, Any]) -> str | None:
    """The text of an answer of /v1/responses; None for any other."""
    messages = [item for item in answer.get("output") or () if item.get("type") == "message"]
    texts = [part["text"] for message in messages for part in message["content"] if part.get("type") == "output_text"]
    return "".join(texts) if texts else None


def _as_text(value: object) -> str | None:
    """A carried value: text as it is, anything else as JSON, so that the column has one type in all parts."""
    return value if value is None or isinstance(value, str) else orjson.dumps(value).decode()
