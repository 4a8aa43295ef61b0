"""The order of the queue, and which of its jobs start on the slots that are free.

A slot is a GPU, by its number, or the one place that a machine without GPUs has. Everything follows from what is
stored of the jobs, so that any server that looks decides the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

CLASS_PER = timedelta(hours=1)
"""A job that waits so long counts as one priority higher: no stream of urgent jobs keeps another waiting for ever."""
FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=2), timedelta(minutes=5)
"""After an attempt that broke off; each further one waits twice as long."""


@dataclass(frozen=True, slots=True)
class Key:
    """A job of an account."""

    account_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job that nobody works on. `needs`: slots; `attempts`: how many there were, the last one until `since`.

    `only_closes`: it was cancelled or is too late, so that it takes no engine to end it.
    """

    key: Key
    created_at: datetime
    since: datetime
    priority: int = 0
    needs: int = 1
    attempts: int = 0
    only_closes: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A job that somebody works on. `slots`: those it has here; None where that is not known, or it runs elsewhere."""

    key: Key
    slots: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Start:
    """A job that starts now, on these slots."""

    key: Key
    slots: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """What starts now, and why the others wait, for people."""

    starts: tuple[Start, ...]
    reasons: dict[Key, str]


def decide(waiting: Sequence[Waiting], running: Sequence[Running], slots: Sequence[str], now: datetime) -> Decision:
    """Start jobs in their order while there are slots; none overtakes one that waits for slots of this machine."""
    taken = {slot for job in running for slot in job.slots or ()}
    free = [slot for slot in slots if slot not in taken]
    starts: list[Start] = []
    reasons: dict[Key, str] = {}
    line = in_order(waiting, now)
    is_blocked = False
    for place, job in enumerate(line, start=1):
        if job.only_closes:
            starts.append(Start(job.key, ()))
        elif job.needs > len(slots):
            reasons[job.key] = f"It needs {_gpus(job.needs)}, and this machine has {len(slots)}; it waits for another."
        elif now < (at := may_start_at(job)):
            reasons[job.key] = f"Attempt {job.attempts} broke off; the next one starts at {at:%H:%M:%S} UTC."
        elif is_blocked or job.needs > len(free):
            is_blocked = True
            reasons[job.key] = f"{_ordinal(place)} of {len(line)} in line; it waits for {_what(job.needs, running)}."
        else:
            starts.append(Start(job.key, tuple(free[: job.needs])))
            del free[: job.needs]
    return Decision(tuple(starts), reasons)


def in_order(waiting: Sequence[Waiting], now: datetime) -> list[Waiting]:
    """By priority, a class more for each hour, then by age."""

    def place(job: Waiting) -> tuple[int, datetime, str]:
        return -job.priority - int((now - job.created_at) / CLASS_PER), job.created_at, job.key.job_id

    return sorted(waiting, key=place)


def may_start_at(job: Waiting) -> datetime:
    """When the next attempt may start: the first one at once."""
    if not job.attempts:
        return job.since
    doublings = min(job.attempts - 1, 10)
    return job.since + min(FIRST_DELAY * (1 << doublings), LONGEST_DELAY)


def _what(needs: int, running: Sequence[Running]) -> str:
    users = ", ".join(job.key.job_id for job in running if job.slots)
    wanted = "the engine" if needs == 1 else _gpus(needs)
    return f"{wanted}, in use by {users}" if users else wanted


def _gpus(number: int) -> str:
    return f"{number} GPUs" if number > 1 else "1 GPU"


def _ordinal(number: int) -> str:
    if 10 <= number % 100 <= 20:  # noqa: PLR2004 - eleventh to thirteenth
        return f"{number}th"
    return f"{number}{_ENDINGS.get(number % 10, 'th')}"


_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
