"""Ids that sort by the time of their making, so that the newest things are found by their keys alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

RETRIED_WITHIN = timedelta(minutes=10)
"""A client that sends a request again does so within this time."""
Token = Callable[[], str]
"""Draws 24 hexadecimal digits."""


class Ids:
    """New ids. `token`: what tells those of one second apart."""

    def __init__(self, token: Token) -> None:
        self._token = token

    def new(self, prefix: str, now: datetime) -> str:
        """`<prefix><8 digits of the time><24 random digits>`."""
        return f"{prefix}{_time_digits(now)}{self._token()}"


def is_id(prefix: str, text: str) -> bool:
    """Whether a text may be an id of that prefix."""
    return text.startswith(prefix) and text.removeprefix(prefix).isalnum() and text.isascii()


def first_since(prefix: str, at: datetime) -> str:
    """What sorts before every id of that prefix that was made at `at` or later."""
    return prefix + _time_digits(at)


def _time_digits(at: datetime) -> str:
    return f"{int(at.astimezone(UTC).timestamp()):08x}"
