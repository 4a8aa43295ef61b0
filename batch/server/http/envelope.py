"""What holds for every request: an id, a limit of what a body may have, and of how long either side may be silent.

Knows no route.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from batch.server.http.errors import meaning_here, openai_shape

REQUEST_ID = "x-request-id"
CLOSE = {"connection": "close"}
T = TypeVar("T")


class Envelope:
    """Around the app. `limit_bytes`: of a path, the most that a body may have, told by its length or not."""

    def __init__(
        self, app: ASGIApp, *, new_id: Callable[[], str], limit_bytes: Callable[[str], int], silence_s: float
    ) -> None:
        self._app = app
        self._new_id = new_id
        self._limit_bytes = limit_bytes
        self._silence_s = silence_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["request_id"] = self._new_id()
        most_bytes = self._limit_bytes(scope["path"])
        exchange = _Exchange(receive, send, scope["request_id"], most_bytes, self._silence_s)
        told = Headers(scope=scope).get("content-length", "0")
        if told.isdigit() and int(told) > most_bytes:
            refused = meaning_here(_too_large(most_bytes))
            await JSONResponse(openai_shape(refused), refused.status, CLOSE)(scope, receive, exchange.send)
            return
        await self._app(scope, exchange.receive, exchange.send)


class _Exchange:
    """One request and its answer as they pass. What is refused here closes the connection: more may be on its way."""

    def __init__(self, receive: Receive, send: Send, own_id: str, most_bytes: int, silence_s: float) -> None:
        self._receive = receive
        self._send = send
        self._id = own_id
        self._most_bytes = most_bytes
        self._silence_s = silence_s
        self._taken_bytes = 0
        self._has_body = False

    async def receive(self) -> Message:
        if self._has_body:
            return await self._receive()
        message = await self._in_time(self._receive())
        self._taken_bytes += len(message.get("body", b""))
        self._has_body = not message.get("more_body", False)
        if self._taken_bytes > self._most_bytes:
            raise _too_large(self._most_bytes)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)[REQUEST_ID] = self._id
        await self._in_time(self._send(message))

    async def _in_time(self, doing: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._silence_s):
                return await doing
        except TimeoutError:
            message = f"Nothing came or went for {self._silence_s:g} s; send it again."
            raise HTTPException(HTTPStatus.REQUEST_TIMEOUT, message, CLOSE) from None


def _too_large(most_bytes: int) -> HTTPException:
    """Starlette's own kind, which FastAPI lets through where it reads a body."""
    message = f"The body has more than {most_bytes:,} bytes, the most that is taken here."
    return HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, message, CLOSE)
