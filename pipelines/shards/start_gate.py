"""When the first rows are let in: the engine is up, and the rows that are being read by then are in line.

Rows that are not in line yet cannot be put in order. Knows nothing of rows; shards have numbers.
"""

import asyncio
import logging
from contextlib import suppress

from pipelines.engines.base import Engine
from pipelines.shards.admission import Admission

logger = logging.getLogger(__name__)

ENGINE_WAITS_S = 2.0
"""How long an engine that is up waits at most for rows that are being read, so that they come to it in order."""


class StartGate:
    """Opens the admission once. For one event loop."""

    def __init__(self) -> None:
        self._arriving: set[int] = set()
        self._none_arriving = asyncio.Event()
        self._none_arriving.set()

    def arrives(self, shard: int) -> None:
        """A shard is about to be read."""
        self._arriving.add(shard)
        self._none_arriving.clear()

    def arrived(self, shard: int) -> None:
        """All rows of a shard are in line, or none will be."""
        self._arriving.discard(shard)
        if not self._arriving:
            self._none_arriving.set()

    async def open(self, admission: Admission, starting: "asyncio.Future[Engine]", *, unexplained_deaths: int) -> None:
        """Wait for the engine, and for the rows that are on their way; then let in as many as the engine wants.

        What keeps the engine from starting is told by others.
        """
        await asyncio.wait({starting})
        if starting.cancelled() or starting.exception() is not None:
            return
        if unexplained_deaths:
            logger.warning(
                "%d engines died of no single row: fewer rows at once, until many are answered", unexplained_deaths
            )
        with suppress(TimeoutError):
            async with asyncio.timeout(ENGINE_WAITS_S):
                await self._none_arriving.wait()
        admission.open(starting.result().window)
