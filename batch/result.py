"""What became of one row: a success or a failure, and the line either is written as.

A failed row is a value, never an exception. Knows nothing of files, parts or engines.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum

import orjson

MAX_MESSAGE_BYTES = 1000
EXCERPT_BYTES = 256

_CONTROL_CHARACTERS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
# Line and paragraph separators, and the marks that turn the direction of text around.
_CONTROL_CHARACTERS |= {code: f"\\u{code:04x}" for code in (*range(0x2028, 0x202F), *range(0x2066, 0x206A))}
_TEXT_OR_SPACE = re.compile(rb'("(?:[^"\\]++|\\.)*+")|[ \t\r\n]++')


class Code(StrEnum):
    """Why a row did not succeed."""

    MALFORMED_JSON = "malformed_json"
    NOT_AN_OBJECT = "not_an_object"
    INVALID_UTF8 = "invalid_utf8"
    LINE_TOO_LONG = "line_too_long"
    MISSING_CUSTOM_ID = "missing_custom_id"
    DUPLICATE_CUSTOM_ID = "duplicate_custom_id"
    INVALID_PARAMETER = "invalid_parameter"
    MODEL_MISMATCH = "model_mismatch"
    PROMPT_TOO_LONG = "prompt_too_long"
    UNSUPPORTED_ENDPOINT = "unsupported_endpoint"
    MEDIA_FORBIDDEN = "media_forbidden"
    ENGINE_CRASH = "engine_crash"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one row, or of many added up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.cached_tokens + other.cached_tokens,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a line stands: file URI, line number (1-based), byte offset in the (decompressed) file."""

    file: str
    line: int
    offset: int


@dataclass(frozen=True, slots=True)
class Success:
    """The engine's answer to one row. `body`: the response body, JSON, written as it is.

    `usage`: what was computed for this row; nothing for a copy (`is_copy`) of the answer to an equal request.
    """

    custom_id: str
    body: bytes
    usage: Usage
    metadata: dict[str, object] | None = None
    is_copy: bool = False


@dataclass(frozen=True, slots=True)
class RowFailure:
    """Why one row has no answer.

    `status_code` and `body` (JSON) are what an OpenAI-compatible server answers to such a request; None where no
    server would have seen one (undecodable, cancelled, expired). `excerpt`: the beginning of the raw line.
    """

    custom_id: str | None
    code: Code
    message: str
    place: Place
    excerpt: bytes = b""
    field: str | None = None
    status_code: int | None = None
    body: bytes | None = None
    metadata: dict[str, object] | None = None


Result = Success | RowFailure


def sentence(error: Exception) -> str:
    """Return what is told of an exception that a row's handling raised: its kind and the first line of its text."""
    return printable(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}")


def row_id(job_id: str, file_index: int, line: int) -> str:
    """Return the id of a row's answer: the same for each attempt, so that a repeated row is recognised."""
    digest = hashlib.blake2b(f"{job_id}\0{file_index}\0{line}".encode(), digest_size=8)
    return f"batch_req_{digest.hexdigest()}"


def encode_result(result: Result, row_id: str) -> bytes:
    """Return the result as one line of JSON without newline; a body is spliced in byte for byte.

    Raises ValueError for a body that is not on one line.
    """
    response: dict[str, object] | None = None
    error: dict[str, object] | None = None
    if isinstance(result, Success):
        response = _response(200, row_id, result.body)
    else:
        error = _error(result)
        if result.status_code is not None:
            response = _response(result.status_code, row_id, result.body)
    line: dict[str, object] = {"id": row_id, "custom_id": result.custom_id, "response": response, "error": error}
    if result.metadata is not None:
        line["metadata"] = _metadata(result.metadata)
    encoded = orjson.dumps(line)
    if b"\n" in encoded:
        raise ValueError("the answer holds a line break between its values, and a result is one line")
    return encoded


def one_line(body: bytes) -> bytes:
    """Return a JSON text as one line: without the white space between its values, when that holds line breaks."""
    return _TEXT_OR_SPACE.sub(rb"\1", body) if b"\n" in body or b"\r" in body else body


def _response(status_code: int, row_id: str, body: bytes | None) -> dict[str, object]:
    spliced = None if body is None else orjson.Fragment(body)
    return {"status_code": status_code, "request_id": row_id, "body": spliced}


def _error(failure: RowFailure) -> dict[str, object]:
    error: dict[str, object] = {"code": failure.code.value, "message": printable(failure.message)}
    if failure.field is not None:
        error["field"] = failure.field
    place = failure.place
    error |= {"file": place.file, "line": place.line, "offset": place.offset}
    return error | _raw(failure.excerpt[:EXCERPT_BYTES])


def _raw(excerpt: bytes) -> dict[str, object]:
    """Return the excerpt as text; as base64 when it is not UTF-8 up to a character that the cut split."""
    try:
        return {"raw": excerpt.decode()}
    except UnicodeDecodeError as error:
        if len(excerpt) == EXCERPT_BYTES and error.reason == "unexpected end of data":
            return {"raw": excerpt[: error.start].decode()}
        return {"raw_base64": base64.b64encode(excerpt).decode()}


def _metadata(metadata: dict[str, object]) -> dict[str, object] | orjson.Fragment:
    try:
        return orjson.Fragment(orjson.dumps(metadata))
    except TypeError:  # an integer of more than 64 bits, which orjson reads as no type of its own
        return orjson.Fragment(json.dumps(metadata).encode())


def printable(text: str) -> str:
    """Return `text` with control characters and lone surrogates escaped, cut at 1 kB."""
    escaped = text.translate(_CONTROL_CHARACTERS).encode(errors="backslashreplace")
    if len(escaped) <= MAX_MESSAGE_BYTES:
        return escaped.decode()
    return escaped[: MAX_MESSAGE_BYTES - 3].decode(errors="ignore") + "..."
