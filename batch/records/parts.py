"""The bytes of a part: lines as JSONL, or as Parquet with the columns that people query.

Either way the lines come back byte for byte. Knows nothing of keys and stores.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import orjson

from batch.spec.job_spec import PartFormat
from batch.strict_json import dumps

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


JSONL = PartFormat("jsonl")

MAX_PART_BYTES = 64 << 20
"""Of lines, with their newlines; a line that is longer has a part of its own."""


def in_parts(lines: Sequence[bytes], max_bytes: int) -> Iterator[Sequence[bytes]]:
    """Yield the lines in as few runs as hold at most so many bytes each."""
    start = size_bytes = 0
    for at, line in enumerate(lines):
        if at > start and size_bytes + len(line) + 1 > max_bytes:
            yield lines[start:at]
            start, size_bytes = at, 0
        size_bytes += len(line) + 1
    if lines:
        yield lines[start:]


def encode_part(lines: Sequence[bytes], part_format: PartFormat) -> bytes:
    """Return the whole part: one line each, in the given order. Raises ValueError for a line that would be several."""
    for line in lines:
        if b"\n" in line:
            raise ValueError(f"a result must be one line of its part, and this one holds a line break: {line[:200]!r}")
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
    body, metadata = _member(result["response"], "body"), result.get("metadata")
    usage, choice = _usage(_member(body, "usage")), _first(_member(body, "choices"))
    return {
        "custom_id": result["custom_id"],
        "text": _choice_text(choice) or _response_text(body),
        "finish_reason": _text(_member(choice, "finish_reason")),
        "prompt_tokens": usage["prompt_tokens"],
        "completion_tokens": usage["completion_tokens"],
        "usage": usage if any(count is not None for count in usage.values()) else None,
        "error": result["error"],
        "body": None if result["response"] is None else orjson.dumps(body).decode(),
        "line": line.decode(),
        **{column_of(field): _as_text(_member(metadata, field)) for field in carried},
    }


def _usage(usage: object) -> dict[str, int | None]:
    """The tokens of an answer, by the names that chat completions have; /v1/responses has others."""
    details = _member(usage, "prompt_tokens_details") or _member(usage, "input_tokens_details")
    return {
        "prompt_tokens": _count(_member(usage, "prompt_tokens") or _member(usage, "input_tokens")),
        "completion_tokens": _count(_member(usage, "completion_tokens") or _member(usage, "output_tokens")),
        "cached_tokens": _count(_member(details, "cached_tokens")),
    }


def _choice_text(choice: object) -> str | None:
    text = _member(choice, "text")
    return _text(_member(_member(choice, "message"), "content") if text is None else text)


def _response_text(body: object) -> str | None:
    """The text of an answer of /v1/responses; None for any other."""
    parts = chain.from_iterable(_members(_member(item, "content")) for item in _members(_member(body, "output")))
    texts = [_text(_member(part, "text")) for part in parts if _member(part, "type") == "output_text"]
    return "".join(filter(None, texts)) if texts else None


def _as_text(value: object) -> str | None:
    """A carried value: text as it is, anything else as JSON, so that the column has one type in all parts."""
    return value if value is None or isinstance(value, str) else dumps(value).decode()


# A body is whatever an endpoint answered: a member of another type than its column's is left to the column `body`.


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None


def _members(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _first(value: object) -> object:
    return next(iter(_members(value)), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    return value if type(value) is int and value < 2**63 else None
