"""Content on its way out, in bounded memory: whole, or the range that is asked for. Knows no route."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from http import HTTPStatus
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def download(
    request: Request, read: Callable[[int, int], Iterator[bytes]], *, size_bytes: int, etag: str, filename: str
) -> Response:
    """Answer with the content, of which `read` gives bytes [start, end); with one range of it where that is asked."""
    headers = {
        "accept-ranges": "bytes",
        "etag": f'"{etag}"',
        "content-disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        "x-content-type-options": "nosniff",
    }
    start, end, status = 0, size_bytes, HTTPStatus.OK
    asked = _RANGE.fullmatch(request.headers.get("range", ""))
    if asked is not None and asked[0] != "bytes=-" and request.headers.get("if-range", f'"{etag}"') == f'"{etag}"':
        start, end = _span(asked[1], asked[2], size_bytes)
        if start >= end:
            return Response(
                status_code=HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                headers={"content-range": f"bytes */{size_bytes}"},
            )
        status = HTTPStatus.PARTIAL_CONTENT
        headers["content-range"] = f"bytes {start}-{end - 1}/{size_bytes}"
    headers["content-length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type="application/octet-stream")
    return StreamingResponse(read(start, end), status, headers, media_type="application/octet-stream")


def _span(first: str, last: str, size_bytes: int) -> tuple[int, int]:
    if not first:
        return max(size_bytes - int(last), 0), size_bytes
    return int(first), min(int(last) + 1, size_bytes) if last else size_bytes
