"""Who goes on and what breaks: placed fault by fault, or drawn from a seed.

Knows nothing of jobs.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.stage import Operation
from faults import Kind, Verb

MOST_DRIVERS = 6
FAULTS_OF_A_READ = (Kind.CRASH_BEFORE, Kind.UNAVAILABLE_BEFORE, Kind.PAUSE)
FAULTS_OF_A_WRITE = (*FAULTS_OF_A_READ, Kind.CRASH_AFTER, Kind.UNAVAILABLE_AFTER)
FAULTS_OF_A_CREATE = (*FAULTS_OF_A_WRITE, Kind.LOST_ACK)


def faults_of(verb: Verb) -> tuple[Kind, ...]:
    """The faults that differ: a read that fails afterwards leaves what one that fails before leaves."""
    if verb is Verb.CREATE:
        return FAULTS_OF_A_CREATE
    return FAULTS_OF_A_WRITE if verb.writes else FAULTS_OF_A_READ


@dataclass(slots=True)
class Placed:
    """These faults at these operations. One that pauses gives way to the other, or to a newcomer, and so back."""

    faults: Mapping[int, Kind] = field(default_factory=dict)
    cancelled_at: int | None = None
    _last: int = field(default=-1, repr=False)

    def strike(self, at: int, verb: Verb) -> Kind | None:
        return self.faults.get(at)

    def turn(self, waiting: Sequence[int], started: int, *, is_over: bool) -> int | None:
        others = [driver for driver in waiting if driver != self._last]
        if others:
            self._last = others[0]
        elif (waiting or not is_over) and started < MOST_DRIVERS:
            self._last = started
        else:
            return waiting[0] if waiting else None
        return self._last

    def is_cancelled_at(self, at: int) -> bool:
        return at == self.cancelled_at


class Drawn:
    """Two to four drivers that take turns by chance, with faults and a cancellation by chance."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = random.Random(seed)
        self._drivers = self._random.randint(2, 4)
        self._pauses = self._random.choice((0.05, 0.2, 0.5))
        self._faults = self._random.choice((0.0, 0.01, 0.04))
        self._cancelled_at = self._random.randint(1, 80) if self._random.random() < 0.2 else None

    def __repr__(self) -> str:
        return f"Drawn(seed={self.seed})"

    def strike(self, at: int, verb: Verb) -> Kind | None:
        drawn = self._random.random()
        if drawn < self._faults:
            return self._random.choice(faults_of(verb))
        return Kind.PAUSE if drawn < self._faults + self._pauses else None

    def turn(self, waiting: Sequence[int], started: int, *, is_over: bool) -> int | None:
        choices = [*waiting, *([started] if started < self._drivers else [])]
        return self._random.choice(choices) if choices else None

    def is_cancelled_at(self, at: int) -> bool:
        return at == self._cancelled_at


def singles(undisturbed: Sequence[Operation]) -> Iterator[Placed]:
    """Every fault at every operation of a run in which nothing happens."""
    for at, operation in enumerate(undisturbed, 1):
        for kind in faults_of(operation.verb):
            yield Placed({at: kind})


def seconds(first: Placed, run: Sequence[Operation]) -> Iterator[Placed]:
    """Every fault at every operation that follows the one fault of this run."""
    struck = max(first.faults)
    for at, operation in enumerate(run[struck:], struck + 1):
        for kind in faults_of(operation.verb):
            yield Placed({**first.faults, at: kind})
