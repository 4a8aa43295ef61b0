"""A client's connection, whose headers are bounded in size and time: the parser itself takes any number, for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADERS_BYTES = 64 << 10
HEADERS_WITHIN_S = 60.0
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class BoundedConnection(HttpToolsProtocol):
    """Closed when headers are larger than MAX_HEADERS_BYTES, or not all there after HEADERS_WITHIN_S."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._headers_bytes: int | None = 0
        self._too_late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._headers_bytes is not None:
            self._headers_bytes += len(data)
            if self._headers_bytes > MAX_HEADERS_BYTES:
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_headers()

    def on_headers_complete(self) -> None:
        self._headers_bytes = None
        self._stop_waiting()
        super().on_headers_complete()

    def _await_headers(self) -> None:
        self._stop_waiting()
        self._headers_bytes = 0
        self._too_late = self.loop.call_later(HEADERS_WITHIN_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._too_late is not None:
            self._too_late.cancel()
            self._too_late = None
