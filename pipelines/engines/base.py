"""The small protocol every engine follows. Knows nothing of shards, stores or Ray."""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from batch.records.objects import EngineLoad
from batch.result import Code, Usage
from batch.rows.request import Request

Waiting = Callable[[], Collection[Request]]
"""Says which requests wait for an engine that is starting: each time those from before, and more."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an OpenAI-compatible server would have answered to one request.

    `body` is JSON: the response object when `status_code` is 200, else `{"error": {...}}`,
    and `code` then says which kind of row failure it is. `is_copy`: it was computed for another, equal request.
    `retry_after_s`: the pause that whoever answered asks for, before the request is sent again.
    """

    status_code: int
    body: bytes
    usage: Usage
    code: Code | None = None
    is_copy: bool = False
    retry_after_s: float = 0.0


class EngineDead(Exception):
    """The engine cannot answer any further request; the requests in flight are lost and must be asked again."""


def names_model(message: str, model: object) -> bool:
    """Whether an error message speaks of the model that a request named."""
    return isinstance(model, str) and re.search(rf"(?<!\w){re.escape(model)}(?!\w)", message) is not None


def window_of(max_num_seqs: int) -> int:
    """Return how many requests a vLLM engine of so many sequences should have: half as many wait as are computed."""
    return max_num_seqs * 3 // 2


class Engine(Protocol):
    """Answers requests concurrently, in any order."""

    name: str
    version: str
    config: dict[str, object]
    window: int
    """How many requests are worth having in flight: enough that a finished one is replaced at once."""

    async def answer(self, request: Request) -> Answer:
        """Return the answer to one request; a refused request is an answer too. Raises EngineDead."""

    async def close(self) -> None:
        """Stop the engine and free its memory."""


@runtime_checkable
class TellsLoad(Protocol):
    """An engine that knows how much it has to do."""

    def load(self) -> EngineLoad | None:
        """What it told last of this job; None before it told anything."""

    def count_anew(self) -> None:
        """Another job begins."""


def load_of(engine: object) -> EngineLoad | None:
    """What an engine told last of its load; None for one that does not tell."""
    return engine.load() if isinstance(engine, TellsLoad) else None


def count_anew(engine: object) -> None:
    """Have an engine that tells its load count from zero, for another job."""
    if isinstance(engine, TellsLoad):
        engine.count_anew()
