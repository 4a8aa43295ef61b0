"""Which rows may be in an engine together, and which comes next: rows that begin alike one after another.

Rows wait in generations: those that come while one generation is let in form the next. In a generation the rows are
sorted by how they begin, so that the engine computes what they share once, while it has it. Suspects come last.

A suspect is a row that was in flight when an engine died. After one death it runs among at most 16 suspects, after
two alone; the third shows that it is the one. Knows nothing of requests and answers.
"""

import asyncio
from heapq import heappop, heappush
from itertools import count

KILLS_TO_CONVICT = 3
TOGETHER = {1: 16, 2: 1}
"""How many suspects may be in flight together, by the number of engines that died of or beside them."""

Turn = tuple[int, int, bytes, int]
"""When a row in the line is let in: its generation, the engines that died beside it, how it begins, its number."""


class Admission:
    """Counts the rows in flight; the others wait in line. For one event loop."""

    def __init__(self) -> None:
        self._free = 0
        self._is_closed = False
        self._in_flight = 0
        self._deaths = 0  # of the rows in flight: they all have the same number
        self._generation = 0  # of the last row that was let in
        self._line: list[tuple[Turn, asyncio.Future[None]]] = []
        self._numbers = count()

    def open(self, window: int) -> None:
        """Let `window` rows in."""
        self._free += window
        self._let_in()

    def close(self) -> None:
        """Let no row in any more: the engine is dead, and its process about to end."""
        self._is_closed = True

    async def enter(self, beginning: bytes, deaths: int) -> None:
        """Wait until a row beside which `deaths` engines died may join those in flight."""
        let_in = asyncio.get_running_loop().create_future()
        heappush(self._line, ((self._generation + 1, deaths, beginning, next(self._numbers)), let_in))
        self._let_in()
        try:
            await let_in
        except asyncio.CancelledError:
            if not let_in.cancelled():  # both at once: it was let in and will never know
                self.leave()
            raise

    def leave(self) -> None:
        """A row was answered, or never will be."""
        self._in_flight -= 1
        self._free += 1
        self._let_in()

    def _let_in(self) -> None:
        while self._line and self._free and not self._is_closed:
            (generation, deaths, _, _), let_in = self._line[0]
            if not let_in.cancelled():
                if not self._may_join(deaths):
                    return
                self._generation, self._deaths = generation, deaths
                self._free -= 1
                self._in_flight += 1
                let_in.set_result(None)
            heappop(self._line)

    def _may_join(self, deaths: int) -> bool:
        if not self._in_flight:
            return True
        return deaths == self._deaths and (deaths not in TOGETHER or self._in_flight < TOGETHER[deaths])
