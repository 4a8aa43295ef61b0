"""Drivers of one job, each in a thread of its own, of which exactly one goes on at any moment.

A driver gives the turn back where the schedule has it pause, and at its end. So a schedule decides the whole run, and
the same schedule gives the same run. Knows nothing of what drivers do.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from faults import Crash, Kind, Verb, Wrapped, struck

from connectors.stores.store import Store

T = TypeVar("T")


class Schedule(Protocol):
    """Decides by numbers alone. Operations are counted over all drivers, from 1."""

    def strike(self, at: int, verb: Verb) -> Kind | None:
        """What happens to an operation."""

    def turn(self, waiting: Sequence[int], started: int, *, is_over: bool) -> int | None:
        """The driver that goes on: one that waits, or the number `started` for a new one; None when none waits."""

    def is_cancelled_at(self, at: int) -> bool:
        """Whether somebody asks the job to stop just before an operation."""


@dataclass(frozen=True, slots=True)
class Operation:
    driver: int
    verb: Verb
    key: str
    kind: Kind | None

    def __str__(self) -> str:
        return f"{self.driver}: {self.verb.value} {self.key}" + (f"  <- {self.kind.name}" if self.kind else "")


@dataclass(slots=True)
class Stage:
    """The run so far: every operation that a driver asked for."""

    schedule: Schedule
    store: Store
    cancel: Callable[[], object] = lambda: None
    before: Callable[[int], object] = lambda at: None
    """What the world does just before an operation."""
    operations: list[Operation] = field(default_factory=list)

    def play(self, body: Callable[[int, Store], None], is_over: Callable[[], bool]) -> None:
        """Run drivers until the schedule ends it. `body` gets the driver's number and its store."""
        drivers: list[Driver] = []
        while True:
            waiting = [driver.number for driver in drivers if not driver.has_ended]
            turn = self.schedule.turn(waiting, len(drivers), is_over=is_over())
            if turn is None:
                return
            if turn == len(drivers):
                drivers.append(Driver(turn, self, body))
            drivers[turn].go_on()

    def strike(self, driver: int, verb: Verb, key: str) -> Kind | None:
        at = len(self.operations) + 1
        self.before(at)
        if self.schedule.is_cancelled_at(at):
            self.cancel()
        kind = self.schedule.strike(at, verb)
        self.operations.append(Operation(driver, verb, key, kind))
        return kind


class Driver:
    """One process of the world outside, in a thread. `go_on` returns when it pauses or has ended."""

    def __init__(self, number: int, stage: Stage, body: Callable[[int, Store], None]) -> None:
        self.number = number
        self.has_ended = False
        self._turn = threading.Semaphore(0)
        self._back = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, args=(stage, body), daemon=True)

    def go_on(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
        else:
            self._turn.release()
        self._back.acquire()
        if self.has_ended:
            self._thread.join()

    def pause(self) -> None:
        self._back.release()
        self._turn.acquire()

    def _run(self, stage: Stage, body: Callable[[int, Store], None]) -> None:
        try:
            body(self.number, StagedStore(stage, self))
        finally:
            self.has_ended = True
            self._back.release()


class StagedStore(Wrapped):
    """One driver's sight of the store. A dead driver reaches nothing any more.

    `JobStore.commits` reads from a pool of threads: immutable records, in an order that is the pool's. Those reads are
    no operations of their own, but belong to the listing before them; test_batch_job_store.py strikes each.
    """

    def __init__(self, stage: Stage, driver: Driver) -> None:
        super().__init__(stage.store)
        self._stage = stage
        self._driver = driver
        self._thread = threading.get_ident()
        self._is_dead = False

    def _do(self, verb: Verb, key: str, operation: Callable[[], T]) -> T:
        if threading.get_ident() != self._thread:
            return operation()
        if self._is_dead:
            raise Crash
        kind = self._stage.strike(self._driver.number, verb, key)
        try:
            return struck(kind, verb, operation, pause=self._driver.pause)
        except Crash:
            self._is_dead = True
            raise
