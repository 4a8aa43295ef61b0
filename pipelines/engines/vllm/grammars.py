"""Grammars of structured outputs that cost much: one is told when it is compiled, another ends its row.

vLLM moves each row's grammar on in the thread that schedules, so every row waits for the slowest grammar. That of
`(([a-z]{1,1000}){1,1000}){1,1000}` takes a second a token after eighty tokens, and minutes later on.
"""

from collections.abc import Callable
from time import monotonic, thread_time
from typing import Any

from vllm.logger import init_logger
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.request import Request
from vllm.v1.structured_output import StructuredOutputManager

from pipelines import seams

logger = init_logger(f"vllm.{__name__}")  # EngineCore shows what vLLM's loggers say

SLOW_TO_COMPILE_S = 2.0
MOST_S_A_TOKEN = 0.25
"""Of processor time, which a machine with much to do makes no longer. Usual grammars take some microseconds."""


def probe() -> None:
    """Raise Unexpected unless vLLM compiles a grammar, and moves it on, by the methods that are replaced here."""
    seams.expect_use(StructuredOutputManager.grammar_init, "_create_grammar")
    seams.expect_use(StructuredOutputManager._create_grammar, "structured_output_request")
    seams.expect(StructuredOutputManager, "accept_tokens")
    seams.expect_use(Scheduler.update_from_output, "accept_tokens")


class Grammars:
    """Watches those of one engine. Costs nothing before the first."""

    def __init__(
        self,
        manager: StructuredOutputManager,
        *,
        clock: Callable[[], float] = monotonic,
        processor_clock: Callable[[], float] = thread_time,
    ) -> None:
        self._manager: Any = manager
        self._clock, self._processor_clock = clock, processor_clock
        self._compile = self._manager._create_grammar
        self._accept = self._manager.accept_tokens
        self._told: set[str] = set()
        self._manager._create_grammar = self._create_grammar

    def _create_grammar(self, request: Request) -> object:
        """Compile the grammar of a request, in a thread of vLLM's."""
        self._manager.accept_tokens = self._accept_tokens
        began_s = self._clock()
        try:
            return self._compile(request)
        finally:
            taken_s = self._clock() - began_s
            if taken_s >= SLOW_TO_COMPILE_S:
                self._tell(request, f"took {taken_s:.1f} s to compile; rows that have it wait for that")

    def _accept_tokens(self, request: Request, new_token_ids: list[int]) -> bool:
        """Move a row's grammar on. False ends the row, as if the grammar had refused a token."""
        if not request.use_structured_output:
            return True
        began_s = self._processor_clock()
        is_accepted: bool = self._accept(request, new_token_ids)
        taken_s = self._processor_clock() - began_s
        if taken_s < MOST_S_A_TOKEN * max(1, len(new_token_ids)):
            return is_accepted
        tokens = request.num_output_tokens
        self._tell(
            request, f"takes {taken_s:.2f} s for a token after {tokens} tokens, so each row that has it is ended"
        )
        return False

    def _tell(self, request: Request, what: str) -> None:
        """Tell it of each grammar once. What it says is not told: it may hold a row's text."""
        kind, text = request.structured_output_request.structured_output_key
        if text not in self._told:
            self._told.add(text)
            logger.warning("a structured output (%s of %d characters) %s", kind.name.lower(), len(text), what)
