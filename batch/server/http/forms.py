"""Forms with a file in them, parsed while they come: the file goes on piece by piece, the fields are kept.

Only the fields that are asked for, of a small size, are taken. Knows no route.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

from anyio import CapacityLimiter, WouldBlock, from_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from batch.server.refusal import Refused

MAX_FIELD_BYTES = 64 << 10
MAX_PARTS = 32


@contextmanager
def one_of_the_uploads(request: Request) -> Iterator[None]:
    """A place among the uploads that are under way. Refused: there is none."""
    limiter: CapacityLimiter = request.app.state.uploads
    try:
        limiter.acquire_on_behalf_of_nowait(request)
    except WouldBlock:
        message = f"{int(limiter.total_tokens)} uploads are under way, as many as this server takes at once; wait."
        raise Refused(HTTPStatus.TOO_MANY_REQUESTS, "too_many_uploads", message) from None
    try:
        yield
    finally:
        limiter.release_on_behalf_of(request)


def chunks_of(request: Request) -> Iterator[bytes]:
    """The body of a request as it comes, for a thread of the server's."""
    stream = request.stream().__aiter__()

    async def following() -> bytes | None:
        return await anext(stream, None)

    try:
        while (chunk := from_thread.run(following)) is not None:
            yield chunk
    except ClientDisconnect:
        raise _bad("the client went before the end") from None


@dataclass(slots=True)
class _Part:
    """The part that is read now."""

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    filename: str = ""
    value: bytearray = field(default_factory=bytearray)


class Form:
    """A multipart body with one file, in the field `file_field`. Refused: malformed, cut off, or out of bounds.

    The `fields` and the `filename` are complete when the file was iterated to its end.
    """

    def __init__(self, content_type: str, chunks: Iterator[bytes], file_field: str) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise _bad("expected multipart/form-data with a boundary")
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self._chunks = chunks
        self._file_field = file_field
        self._part = _Part()
        self._parts = 0
        self._header = (bytearray(), bytearray())
        self._pieces: list[bytes] = []
        self._is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": self._name_header,
                "on_header_value": self._value_header,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._take,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
            max_size=math.inf,
        )

    def file(self) -> Iterator[bytes]:
        """The bytes of the file."""
        try:
            for chunk in self._chunks:
                self._parser.write(chunk)
                yield from self._pieces
                self._pieces.clear()
        except FormParserError as error:
            raise _bad(str(error)) from None
        if not self._is_complete:
            raise _bad("it is cut off before its end")

    def _begin_part(self) -> None:
        self._part = _Part()
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _bad(f"it has more than {MAX_PARTS} parts")

    def _name_header(self, data: bytes, start: int, end: int) -> None:
        self._append(self._header[0], data[start:end])

    def _value_header(self, data: bytes, start: int, end: int) -> None:
        self._append(self._header[1], data[start:end])

    def _end_header(self) -> None:
        name, value = (bytes(text).decode("latin-1") for text in self._header)
        self._part.headers[name.lower()] = value
        for text in self._header:
            text.clear()

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._part.headers.get("content-disposition", ""))
        self._part.name = options.get(b"name", b"").decode(errors="replace")
        self._part.filename = options.get(b"filename", b"").decode(errors="replace")
        if self._part.name == self._file_field:
            if self.filename is not None:
                raise _bad(f"it has two files {self._file_field!r}")
            self.filename = self._part.filename or "upload"

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == self._file_field:
            self._pieces.append(data[start:end])
        else:
            self._append(self._part.value, data[start:end])

    def _end_part(self) -> None:
        if self._part.name != self._file_field:
            self.fields[self._part.name] = bytes(self._part.value).decode(errors="replace")

    def _end(self) -> None:
        self._is_complete = True

    @staticmethod
    def _append(text: bytearray, more: bytes) -> None:
        text += more
        if len(text) > MAX_FIELD_BYTES:
            raise _bad(f"a field or header has more than {MAX_FIELD_BYTES:,} bytes")


def _bad(what: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "invalid_multipart", f"The form cannot be read: {what}.")
