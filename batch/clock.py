"""Time as an argument: what the lease and the launcher wait on.

Knows nothing of jobs or stores.
"""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The three uses of time; tests hand in one that jumps."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary origin, never going back: the only time that decisions use."""
        ...

    def now(self) -> datetime:
        """The wall clock in UTC, for people to read."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clocks."""

    def monotonic(self) -> float:
        """Seconds that go on while a laptop sleeps, where the system has such a clock."""
        # CLOCK_MONOTONIC stands still in suspend: a lease would look fresh after a night with the lid closed.
        boot_time = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)

    def now(self) -> datetime:
        """The wall clock in UTC."""
        return datetime.now(UTC)

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


def rfc3339(at: datetime) -> str:
    """`2026-01-31T12:00:00.000000Z`; sorts as text. ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> datetime:
    """The aware time that `rfc3339` wrote. ValueError names what it cannot read."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return at
