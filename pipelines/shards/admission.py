"""Which rows may be in an engine together, and which comes next: rows that share a prefix one after another.

Rows wait in generations: those that come while one generation is let in form the next. In a generation the rows are
sorted by how they begin, so that the engine computes what they share once, while it has it. At the end of a job those
that may take longest come first, so that no long row is left to run alone. Suspects come last.

Rows that would change their neighbours' answers are let in apart, among their own kind.

A suspect is a row that was in flight when an engine died. After one death it runs among at most 16 suspects, after
two alone; the third shows that it is the one. An engine that dies of no single row may have had too many at once:
the next one gets half as many, and twice as many again when it has done well. Knows nothing of requests and answers.
"""

import asyncio
from heapq import heappop, heappush
from itertools import count

KILLS_TO_CONVICT = 3
TOGETHER = {1: 16, 2: 1}
"""How many suspects may be in flight together, by the number of engines that died of or beside them."""

FEWEST_AT_ONCE = 16
ROWS_BEFORE_MORE = 1000
"""Rows answered before an engine that gets half the window gets twice as many; twice as long for each further half."""

Company = tuple[int, bool]
"""Who may be in flight together: rows beside which equally many engines died, and that are all apart, or none is."""

Turn = tuple[int, Company, int, bytes, int]
"""When a row in the line is let in: its generation, its company, its rank, how it begins, and its number."""


class Admission:
    """Counts the rows in flight; the others wait in line. For one event loop.

    `unexplained_deaths`: of the job's engines so far.
    """

    def __init__(self, unexplained_deaths: int = 0) -> None:
        self._halvings = unexplained_deaths
        self._rows_before_more = ROWS_BEFORE_MORE << unexplained_deaths >> 1
        self._opened = 0
        self._withheld = 0
        self._left = 0
        self._free = 0
        self._is_closed = False
        self._in_flight = 0
        self._company: Company = (0, False)  # of the rows in flight
        self._generation = 0  # of the last row that was let in
        self._line: list[tuple[Turn, asyncio.Future[None]]] = []
        self._numbers = count()

    def open(self, window: int) -> None:
        """Let `window` rows in; after unexplained deaths fewer of them."""
        self._opened = max(min(window, FEWEST_AT_ONCE), window >> self._halvings)
        self._withheld = window - self._opened
        self._free += self._opened
        self._let_in()

    def close(self) -> None:
        """Let no row in any more: the engine is dead, and its process about to end."""
        self._is_closed = True

    async def enter(self, beginning: bytes, deaths: int, *, rank: int = 0, apart: bool = False) -> None:
        """Wait until a row beside which `deaths` engines died may join those in flight; the lowest `rank` first."""
        let_in = asyncio.get_running_loop().create_future()
        turn = (self._generation + 1, (deaths, apart), rank, beginning, next(self._numbers))
        heappush(self._line, (turn, let_in))
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
        self._left += 1
        if self._withheld and self._left == self._rows_before_more:
            self._let_more_in()
        self._let_in()

    def _let_more_in(self) -> None:
        more = min(self._opened, self._withheld)
        self._opened += more
        self._withheld -= more
        self._free += more
        self._left = 0

    def _let_in(self) -> None:
        while self._line and self._free and not self._is_closed:
            (generation, company, *_), let_in = self._line[0]
            if not let_in.cancelled():
                if not self._may_join(company):
                    return
                self._generation, self._company = generation, company
                self._free -= 1
                self._in_flight += 1
                let_in.set_result(None)
            heappop(self._line)

    def _may_join(self, company: Company) -> bool:
        if not self._in_flight:
            return True
        deaths, _ = company
        return company == self._company and (deaths not in TOGETHER or self._in_flight < TOGETHER[deaths])
