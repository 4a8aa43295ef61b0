"""Which rows may be in an engine together: a window of them, and suspects only among few of their kind.

A suspect is a row that was in flight when an engine died. After one death it runs among at most 16 suspects, after
two alone; the third shows that it is the one. Knows nothing of requests and answers.
"""

import asyncio

KILLS_TO_CONVICT = 3
TOGETHER = {1: 16, 2: 1}
"""How many suspects may be in flight together, by the number of engines that died of or beside them."""


class Admission:
    """Counts the rows in flight. Rows enter one after another: the caller sees to that."""

    def __init__(self) -> None:
        self._window = asyncio.Semaphore(0)
        self._in_flight = 0
        self._deaths = 0  # of the rows in flight: they all have the same number
        self._left = asyncio.Event()

    def open(self, window: int) -> None:
        """Let `window` rows in."""
        for _ in range(window):
            self._window.release()

    async def enter(self, deaths: int) -> None:
        """Wait until a row beside which `deaths` engines died may join those in flight."""
        while self._in_flight and not self._may_join(deaths):
            self._left.clear()
            await self._left.wait()
        await self._window.acquire()
        self._deaths = deaths
        self._in_flight += 1

    def _may_join(self, deaths: int) -> bool:
        if deaths != self._deaths:
            return False
        return deaths not in TOGETHER or self._in_flight < TOGETHER[deaths]

    def leave(self) -> None:
        """A row was answered, or never will be."""
        self._in_flight -= 1
        self._window.release()
        self._left.set()
