"""An event loop on which time passes fifty times as fast: pauses of seconds are tried in a fraction of one."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import TypeVar

SPEED = 50

T = TypeVar("T")


class _FastSelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(timeout / SPEED if timeout is not None and timeout > 0 else timeout)


class FastLoop(asyncio.SelectorEventLoop):
    """`asyncio.sleep(50)` takes one second of the wall clock."""

    def __init__(self) -> None:
        super().__init__(_FastSelector())

    def time(self) -> float:
        return super().time() * SPEED


def run_fast(main: Coroutine[object, object, T]) -> T:
    """As asyncio.run, on a FastLoop."""
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        return runner.run(main)
