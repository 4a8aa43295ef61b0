"""The one place where store calls are retried. Knows nothing of the calls, only that Unavailable may pass."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from connectors.errors import Unavailable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry on Unavailable with full jitter until the budget is spent.

    Delay n is uniform in [0, min(max_delay_s, first_delay_s * 2**n)]; no delay starts that would end past the budget.
    """

    budget_s: float = 60.0
    first_delay_s: float = 0.2
    max_delay_s: float = 8.0
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    fraction: Callable[[], float] = random.random

    def run(self, operation: Callable[[], T]) -> T:
        """The value of the first call that does not raise Unavailable. Raises the last one, with the tries made."""
        started_s = self.monotonic()
        bound_s, tries = self.first_delay_s, 1
        while True:
            try:
                return operation()
            except Unavailable as error:
                delay_s = bound_s * self.fraction()
                spent_s = self.monotonic() - started_s
                if spent_s + delay_s > self.budget_s:
                    raise Unavailable(f"{error} (gave up after {tries} tries in {spent_s:.1f} s)") from error
            self.sleep(delay_s)
            bound_s, tries = min(bound_s * 2, self.max_delay_s), tries + 1
