"""Killed jobs leave agents of Ray behind, which notice within a minute: they are waited for once, at the end."""

from collections.abc import Callable, Iterator

import pytest
from attempts import AGENTS_GONE_WITHIN_S, Attempts, check_gone
from processes import Process

Watch = Callable[[Attempts], Attempts]


@pytest.fixture(scope="session")
def mourned() -> Iterator[list[Attempts]]:
    """Attempts whose last processes must be gone before the tests are."""
    found: list[Attempts] = []
    yield found

    def left() -> list[Process]:
        return [process for attempts in found for process in attempts.leftovers()]

    check_gone(left, AGENTS_GONE_WITHIN_S)


@pytest.fixture
def watch(mourned: list[Attempts]) -> Iterator[Watch]:
    """Take attempts into care: what a failed test leaves running is killed."""
    mine: list[Attempts] = []

    def take(attempts: Attempts) -> Attempts:
        mine.append(attempts)
        return attempts

    yield take
    for attempts in mine:
        attempts.clean_up()
    mourned.extend(mine)
