"""The process that has one engine: it owns its event loop, and vLLM's front end.

It serves one job after another that the engine's configuration suits; between two of them it is parked. Whoever forked
it tells it of the next one, and it ends with that process. Knows nothing of Ray.
"""

import asyncio
import gc
import logging
import os
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from typing import NoReturn

import setproctitle
import uvloop

from batch.jobs.lease import STORE_PATIENCE_S
from connectors.stores.retry import be_patient
from pipelines.engine_process.service import JOB_OVER_EXIT, TITLE, Assignment, JobService
from pipelines.engines.base import Engine, count_anew
from pipelines.engines.registry import start_engine
from pipelines.errors import Ours, cannot_start, root_cause, told
from pipelines.models.fetch import local_model
from pipelines.processes import job_log, sizing
from pipelines.processes.reaper import Reaper
from pipelines.shards.runner import ShardRunner

logger = logging.getLogger(__name__)

PRESTARTED_TITLE = f"{TITLE} prestarted"
"""Of a process that no actor has asked for a shard."""
PARKED_TITLE = f"{TITLE} parked"
PARKED = b"parked"
"""What is said over the control connection when there is no job."""
END_WITHIN_S = 10.0
GC_THRESHOLDS = (100_000, 20, 50)
"""Of the garbage collector, while rows are answered. At Python's own (700, 10, 10) it took a seventh of this process's
time, for thousands of open rows are looked through again and again, of which nearly all end without it."""


def main(control: Connection, assignment: Assignment, asked: Connection) -> None:
    """Serve the actor at the other end of `asked`; then whom `control` tells of. End when there is nobody to serve."""
    setproctitle.setproctitle(PRESTARTED_TITLE)
    job_log.begin()
    be_patient(STORE_PATIENCE_S)
    uvloop.run(EngineProcess(control).serve(assignment, asked))


class EngineProcess:
    """One engine, and the jobs that it serves in turn. All belongs to one event loop."""

    def __init__(self, control: Connection) -> None:
        self._control = control
        self._reaper = Reaper()
        self._engine: Engine | None = None

    async def serve(self, assignment: Assignment, asked: Connection) -> NoReturn:
        """Serve this job and those that follow."""
        while True:
            await JobService(assignment, asked, self._engine_of, self._reaper).serve()
            if self._engine is None:  # it was on its way up, and nobody can call that off
                os._exit(JOB_OVER_EXIT)
            assignment, asked = await self._park(assignment.keep_warm_s)
            if assignment.log is not None:
                job_log.move_to(assignment.log)

    async def _park(self, keep_warm_s: float) -> tuple[Assignment, Connection]:
        """Say that there is no job, and return the next one; end when none comes, or whoever would tell is gone."""
        setproctitle.setproctitle(PARKED_TITLE)
        count_anew(self._engine)
        try:
            self._control.send(PARKED)
            await asyncio.wait_for(_readable(self._control), keep_warm_s)
            return self._control.recv(), Connection(recv_handle(self._control))
        except (EOFError, OSError):  # of which TimeoutError is one
            await self._end()

    async def _end(self) -> NoReturn:
        """Close the engine, so that its memory is free when this process is gone."""
        if self._engine is not None:
            closing = asyncio.ensure_future(self._engine.close())
            await asyncio.wait({closing}, timeout=END_WITHIN_S)
        os._exit(JOB_OVER_EXIT)

    async def _engine_of(self, assignment: Assignment, runner: Callable[[], ShardRunner]) -> Engine:
        """Start the engine as soon as a row needs one; the next jobs find it there."""
        if self._engine is None:
            await runner().needs_engine()
            self._engine = await _start_engine(assignment, runner())
        return self._engine


async def _start_engine(assignment: Assignment, runner: ShardRunner) -> Engine:
    config = assignment.config
    share = sizing.claim_share(assignment.group, assignment.replicas)
    machine = sizing.this_machine(share, assignment.replicas)
    if config.engine == "vllm":
        places = {weights: await asyncio.to_thread(local_model, weights) for weights in config.weights}
        config = config.with_weights_at(places)
    os.environ |= sizing.engine_environment(machine, assignment.world_size, weights=config.weights)
    try:
        engine = await start_engine(config, machine, rows=assignment.rows, waiting=runner.waiting)
    except Exception as error:
        raise as_start_failure(error) from error
    # What the engine's libraries hold stays for good: the collector need not look through it between two rows.
    # Nor now, for a third of a second: it would find 850 objects.
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    return engine


async def _readable(connection: Connection) -> None:
    """Return when something has come, or the other side is gone."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(connection.fileno(), ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(connection.fileno())
        os.set_blocking(connection.fileno(), True)  # the loop has changed that, and what comes next comes in two pieces


def as_start_failure(error: Exception) -> Ours:
    """Return the error of ours at its root, else one that says by the root why the engine does not start."""
    root = root_cause(error)
    if isinstance(root, Ours):
        return root
    logger.error("the engine cannot start", exc_info=error)
    return cannot_start(told(root))
