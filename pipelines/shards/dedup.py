"""Equal requests are asked once.

Copies are exact: the key is the whole request but its custom_id, so whatever can change the answer keeps two requests
apart. Knows nothing of shards and rows.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import replace

from batch.result import Usage
from batch.rows.request import CHAT, COMPLETIONS, RESPONSES, Request
from batch.strict_json import dumps
from pipelines.engines.base import Answer
from pipelines.engines.retries import tries

MAX_KEPT_BYTES = 32 * 2**20
ENTRY_BYTES = 350
"""What an answer takes beside its body: its fields, its key and its place (measured, CPython 3.11)."""
_SAMPLING = frozenset({CHAT, COMPLETIONS, RESPONSES})

Ask = Callable[[Request], Awaitable[Answer]]


class SharedAnswers:
    """Keeps the answers to the last determined requests, up to `max_bytes` of memory. For one event loop."""

    def __init__(self, max_bytes: int = MAX_KEPT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept_bytes = 0
        self._kept: OrderedDict[bytes, Answer] = OrderedDict()
        self._asked: dict[bytes, asyncio.Event] = {}

    async def answer(self, request: Request, ask: Ask) -> Answer:
        """Return what `ask` answers, or a copy of what it answered to an equal request.

        A copy has no usage, since nothing was computed for it. A request that waits for an equal one asks by itself
        when that one ends without an answer that would be its own too. Raises what `ask` raises.
        """
        key = request_key(request)
        if key is None:
            return await ask(request)
        while (asked := self._asked.get(key)) is not None:
            await asked.wait()
        if (kept := self._kept.get(key)) is not None:
            self._kept.move_to_end(key)
            return replace(kept, usage=Usage(), is_copy=True)
        answered = self._asked[key] = asyncio.Event()
        try:
            answer = await ask(request)
            if tries(answer) == 1:  # whoever asks again gets the same
                self._keep(key, answer)
            return answer
        finally:
            del self._asked[key]
            answered.set()

    def _keep(self, key: bytes, answer: Answer) -> None:
        # A copy of the exact size: what orjson returns holds on to its working buffer, 4 KiB for 400 bytes.
        self._kept[key] = Answer(answer.status_code, bytes(memoryview(answer.body)), answer.usage, answer.code)
        self._kept_bytes += len(answer.body) + ENTRY_BYTES
        while self._kept_bytes > self._max_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._kept_bytes -= len(oldest.body) + ENTRY_BYTES


def request_key(request: Request) -> bytes | None:
    """Return what equal requests have in common; None for a request that may be answered in more than one way."""
    if request.endpoint in _SAMPLING and not _is_determined(request.body):
        return None
    text = dumps([request.endpoint, request.body], sort_keys=True)
    return hashlib.blake2b(text, digest_size=16).digest()


def _is_determined(body: dict[str, object]) -> bool:
    return body.get("temperature") == 0 or body.get("seed") is not None
