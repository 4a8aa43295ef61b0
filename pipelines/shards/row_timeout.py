"""How long a row may be in an engine where the job sets no `--row-timeout`. Pure; time is an argument."""

LEAST_S = 600.0
TIMES_SLOWEST = 10.0
LONGEST_STEP_S = 10.0
"""What counts at most between two looks: a process that was stopped for an hour made no row wait."""


class Patience:
    """Measures rows by a clock of its own, which goes on at each `look`.

    There is no limit before an engine's first answer: it may compile and warm up until then.
    """

    def __init__(self) -> None:
        self.clock_s = 0.0
        self._looked_at_s: float | None = None
        self._first_answer_s: float | None = None
        self._slowest_s = 0.0

    def look(self, now_s: float) -> None:
        """Let the clock go on until `now_s` (monotonic seconds)."""
        if self._looked_at_s is not None:
            self.clock_s += min(now_s - self._looked_at_s, LONGEST_STEP_S)
        self._looked_at_s = now_s

    def answered(self, since_s: float) -> None:
        """Take in that a row was answered which has been in the engine since `since_s` of this clock."""
        if self._first_answer_s is None:
            self._first_answer_s = self.clock_s
        self._slowest_s = max(self._slowest_s, self.clock_s - since_s)

    @property
    def limit_s(self) -> float:
        return max(LEAST_S, TIMES_SLOWEST * self._slowest_s)

    def is_over(self, since_s: float) -> bool:
        """Whether a row that came into the engine at `since_s` of this clock has been there for too long."""
        if self._first_answer_s is None:
            return False
        return self.clock_s - max(since_s, self._first_answer_s) > self.limit_s
