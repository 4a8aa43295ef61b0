"""The process of a server: its HTTP door, and the scheduler of this machine beside it, until it is told to end.

Jobs that run go on when it ends, and are taken up by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import uvicorn
from anyio import to_thread
from starlette.types import ASGIApp

from batch.server.connection import BoundedConnection
from batch.server.scheduler import Scheduler
from batch.server.server import BatchServer
from batch.server.sweep import sweep
from connectors.errors import Unavailable

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
SWEEP_EVERY_S = 3600.0
SHOWN = 20
END_WITHIN_S = 20
"""How long open requests may take when the server is told to end."""
KEEP_ALIVE_S = 75
"""How long a connection may be idle: longer than clients wait between two looks at a job."""
THREADS = 64


@dataclass(frozen=True, slots=True)
class Address:
    """Where the server listens."""

    host: str
    port: int
    certificate: str | None = None
    private_key: str | None = None


class Beside(Protocol):
    """Another door that is open meanwhile."""

    def stop(self, grace: float | None) -> object:
        """Take no more calls, and let those that are under way end."""


def serve(
    server: BatchServer,
    app: ASGIApp,
    address: Address,
    *,
    scheduler: Scheduler | None,
    on_ready: Callable[[int], Beside | None],
) -> None:
    """Answer requests and start jobs until SIGINT or SIGTERM. OSError: the port is taken.

    `on_ready` hears the port, and may give what runs beside: it is stopped at the end.
    """
    config = uvicorn.Config(
        app,
        host=address.host,
        port=address.port,
        ssl_certfile=address.certificate,
        ssl_keyfile=address.private_key,
        http=BoundedConnection,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=END_WITHIN_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(server, config, scheduler, on_ready))


async def _serve(
    server: BatchServer, config: uvicorn.Config, scheduler: Scheduler | None, on_ready: Callable[[int], Beside | None]
) -> None:
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    listener = socket.create_server((config.host, config.port), family=family, backlog=2048)
    door = uvicorn.Server(config)
    beside = on_ready(listener.getsockname()[1])
    looking = asyncio.create_task(_schedule(server, scheduler)) if scheduler is not None else None
    try:
        await door.serve([listener])
    finally:
        if beside is not None:
            beside.stop(END_WITHIN_S)
        if looking is not None:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


async def _schedule(server: BatchServer, scheduler: Scheduler) -> None:
    """Look at the jobs each second, and at once when one was made; tidy up every hour."""
    swept_at_s = float("-inf")
    while True:
        server.submitted.clear()
        await _done(scheduler.step, "the jobs cannot be looked at")
        if server.clock.monotonic() - swept_at_s >= SWEEP_EVERY_S:
            swept_at_s = server.clock.monotonic()
            await _done(partial(_sweep, server), "the accounts cannot be tidied up")
        await to_thread.run_sync(server.submitted.wait, LOOK_EVERY_S)


async def _done(do: Callable[[], object], otherwise: str) -> None:
    """Do it in a thread. What goes wrong is told in the log, and tried again: nobody else would start the jobs."""
    try:
        await to_thread.run_sync(do)
    except Unavailable as error:
        logger.warning("%s: %s", otherwise, error)
    except Exception:
        logger.exception("%s", otherwise)


def _sweep(server: BatchServer) -> None:
    for account_id in server.root.account_ids():
        removed = sweep(server.tenant(account_id), server.clock.now())
        if removed:
            shown = ", ".join(removed[:SHOWN])
            logger.info("account %s: freed the space of %d things: %s", account_id, len(removed), shown)
