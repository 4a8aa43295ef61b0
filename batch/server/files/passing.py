"""What is learned of an upload while it passes: size, digest, lines, and what its first lines say.

Holds no more of it than the first MAX_HEAD_BYTES. Knows nothing of where it comes from or goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from http import HTTPStatus

import orjson

from batch.server.refusal import Refused

MAX_HEAD_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Passing:
    """Chunks of a JSON Lines file, iterated once; what it says is complete after that.

    Refused when the first line is no JSON object, or when more than `most_bytes` come.
    """

    def __init__(self, chunks: Iterable[bytes], most_bytes: int) -> None:
        self._chunks = chunks
        self._most_bytes = most_bytes
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._line_breaks = 0
        self._last_byte = b""
        self.size_bytes = 0

    def __iter__(self) -> Iterator[bytes]:
        is_begun = False
        for chunk in self._chunks:
            if not chunk:
                continue
            self._note(chunk)
            is_begun = is_begun or self._check_beginning(is_all=len(self._head) >= MAX_HEAD_BYTES)
            yield chunk
        if not is_begun:
            self._check_beginning(is_all=True)

    @property
    def sha256(self) -> str:
        """Of all bytes so far."""
        return self._digest.hexdigest()

    @property
    def lines(self) -> int:
        """How many there are, the last one counted with or without a line break."""
        return self._line_breaks + (self._last_byte not in (b"", b"\n"))

    @property
    def model(self) -> str:
        """The model that the first row names that names one, among the first MAX_HEAD_BYTES; empty for none."""
        for line in bytes(self._head).removeprefix(_BOM).splitlines():
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            body = row.get("body", row) if isinstance(row, dict) else None
            if isinstance(body, dict) and isinstance(body.get("model"), str):
                return str(body["model"])
        return ""

    def _note(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        if self.size_bytes > self._most_bytes:
            raise too_large(self._most_bytes)
        self._digest.update(chunk)
        self._line_breaks += chunk.count(b"\n")
        self._last_byte = chunk[-1:]
        if len(self._head) < MAX_HEAD_BYTES:
            self._head += chunk[: MAX_HEAD_BYTES - len(self._head)]

    def _check_beginning(self, *, is_all: bool) -> bool:
        """Look at the first line that is not blank; False while it has not come whole, unless this is all there is."""
        *lines, last = bytes(self._head).removeprefix(_BOM).split(b"\n")
        found = next(((number, line) for number, line in enumerate(lines, 1) if line.strip()), None)
        if found is None and is_all and last.strip():
            found = len(lines) + 1, last
        if found is None:
            return False
        number, first = found
        try:
            first.decode()
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                raise _no_requests(f"line {number}, byte {error.start} is not UTF-8") from None
        if not first.lstrip().startswith(b"{"):
            raise _no_requests(f"line {number} is no JSON object, as every line of a file of requests is")
        return True


def too_large(most_bytes: int) -> Refused:
    """The refusal of a file that is too large."""
    message = f"The file has more than {most_bytes:,} bytes, the most that this server takes; send several files."
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "file_too_large", message, param="file")


def _no_requests(what: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "invalid_file", f"The file cannot be used: {what}.", param="file")
