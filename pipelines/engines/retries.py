"""How often a request is asked again, and when: one policy for all engines. Knows nothing of what answers."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from batch.result import Code
from pipelines.engines.base import Answer

BUSY = frozenset({408, 409, 425, 429, 502, 503, 504})
"""Statuses of an endpoint that is overloaded, starts again or is out of reach: the same request may soon succeed."""
BUSY_TRIES, FAILED_TRIES = 8, 3
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
LONGEST_ASKED_PAUSE_S = 120.0
"""How much of what an endpoint asks for (Retry-After) is granted."""


async def settled(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until an answer stands, with growing, jittered pauses, and never before an endpoint wants to be asked."""
    tried: Counter[int] = Counter()
    while True:
        answer = await ask()
        most = tries(answer)
        tried[most] += 1
        if tried[most] >= most:
            return answer
        await asyncio.sleep(pause_s(tried.total(), answer.retry_after_s) * random.uniform(1.0, 1.5))


def tries(answer: Answer) -> int:
    """Return how many answers of this kind one request gets at most; the last one stands."""
    if answer.code is None:
        return 1
    if answer.status_code in BUSY and answer.code is not Code.TIMEOUT:
        return BUSY_TRIES
    return FAILED_TRIES if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR else 1


def pause_s(tried: int, asked_s: float) -> float:
    """Return the pause after so many tries, where the endpoint asked for a pause of `asked_s`."""
    return max(min(FIRST_PAUSE_S * 2.0 ** (tried - 1), LONGEST_PAUSE_S), min(asked_s, LONGEST_ASKED_PAUSE_S))
