"""The one place where store calls are retried, and where that is counted and logged.

Knows nothing of the calls, only that Unavailable may pass.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from connectors.errors import Unavailable

T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Retried:
    """What was done again: tries after the first ones, the time waited before them, and calls that were given up."""

    tries: int = 0
    waited_s: float = 0.0
    given_up: int = 0


class Tally:
    """Counts what was retried, by the verb of the call. Safe for many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, Retried] = {}

    def add(self, verb: str, *, waited_s: float) -> None:
        with self._lock:
            now = self._counts.get(verb, Retried())
            self._counts[verb] = replace(now, tries=now.tries + 1, waited_s=now.waited_s + waited_s)

    def give_up(self, verb: str) -> None:
        with self._lock:
            now = self._counts.get(verb, Retried())
            self._counts[verb] = replace(now, given_up=now.given_up + 1)

    def read(self) -> Mapping[str, Retried]:
        """A copy of the counts so far."""
        with self._lock:
            return dict(self._counts)


_process_tally = Tally()


def retried() -> Mapping[str, Retried]:
    """What this process retried since it started, by verb: create, put, get, get_range, head, list, delete."""
    return _process_tally.read()


def retries() -> int:
    """How many tries after first ones this process has made, over all verbs."""
    return sum(each.tries for each in retried().values())


class Patience:
    """How long calls wait for a store that does not answer; it may change while they wait."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


_process_patience = Patience(60.0)


def be_patient(seconds: float) -> None:
    """From now on let this process's calls wait so long for a store, also those that wait already."""
    _process_patience.seconds = seconds


@dataclass(frozen=True, slots=True)
class Retry:
    """Retry on Unavailable with full jitter until the budget is spent; by default the patience of this process.

    Delay n is uniform in [0, min(max_delay_s, first_delay_s * 2**n)]; no delay starts that would end past the budget,
    but the first: one hanging call may take the whole budget, and is tried once more all the same.
    """

    budget_s: float | None = None
    first_delay_s: float = 0.2
    max_delay_s: float = 8.0
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    fraction: Callable[[], float] = random.random
    tally: Tally = _process_tally
    patience: Patience = _process_patience

    def run(self, operation: Callable[[], T], *, verb: str = "call") -> T:
        """The value of the first call that does not raise Unavailable. Raises the last one, with the tries made."""
        started_s = self.monotonic()
        bound_s, tries = self.first_delay_s, 1
        while True:
            try:
                return operation()
            except Unavailable as error:
                delay_s = bound_s * self.fraction()
                spent_s = self.monotonic() - started_s
                budget_s = self.patience.seconds if self.budget_s is None else self.budget_s
                if tries > 1 and spent_s + delay_s > budget_s:
                    self.tally.give_up(verb)
                    raise Unavailable(f"{error} (gave up after {tries} tries in {spent_s:.1f} s)") from error
                _log.warning("%s: try %d failed, the next one in %.1f s: %s", verb, tries, delay_s, error)
            self.tally.add(verb, waited_s=delay_s)
            self.sleep(delay_s)
            bound_s, tries = min(bound_s * 2, self.max_delay_s), tries + 1
