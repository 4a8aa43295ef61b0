"""One job in an engine process: its actor asks for shards over a connection, and a runner answers them.

A service ends with its actor, or when another attempt has the job; the engine that it used may outlive it. Knows
nothing of how the engine is started and of what the process does next.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from threading import Event, Thread
from typing import Any, NoReturn, TypeAlias
from uuid import uuid4

import orjson
import setproctitle

from batch.errors import BatchError, JobGone
from batch.jobs.store import JobStore, Standing
from batch.records.objects import Commit, Epoch
from batch.spec.engine_config import EngineConfig
from connectors.errors import StoreError
from connectors.stores.retry import retries
from pipelines.engines.base import Engine, EngineDead
from pipelines.errors import Ours, first_line, root_cause, unforeseen
from pipelines.processes.reaper import FINISHES, Reaper
from pipelines.shards.journal import read_past
from pipelines.shards.runner import ShardRunner

logger = logging.getLogger(__name__)

TITLE = FINISHES
JOB_OVER_EXIT = 0
ENGINE_DEAD_EXIT = 17
WATCH_INTERVAL_S = 1.0
KEEP_WITHIN_S = 3.0
"""How long a process may outlive its actor to keep what it has answered."""
DROP_WITHIN_S = 20.0
"""How long the rows of a job that is over may take to leave an engine that is to be kept."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A job for an engine process. `claim`: the attempt's; `config`: what its engine has loaded.

    `replicas`: engines that share the job; `group`: what these have in common, by which they part a machine.
    `world_size`: ranks of each; `rows`: of the whole job. `first`: shards that will be asked for first, which it begins
    with as soon as it can. `keep_warm_s`: how long its engine waits for another job when this one is over. `log`: the
    job's log, where it is another one than that of the process's first job.
    """

    job_uri: str
    claim: Epoch
    config: EngineConfig
    replicas: int
    group: str
    world_size: int
    rows: int
    first: tuple[int, ...] = ()
    keep_warm_s: float = 0.0
    log: str | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is said of a shard that was committed."""

    shard: int
    succeeded: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    engine: str
    engine_version: str
    engine_config: str


class Superseded(Exception):
    """Another attempt has the job, or it is gone."""


Outcome: TypeAlias = Receipt | Ours
EngineOf: TypeAlias = Callable[[Assignment, Callable[[], ShardRunner]], Awaitable[Engine]]
"""Gives a job its engine. The runner, which says when one is needed, is not there yet when this is called."""


class JobService:
    """Answers each shard number that comes over `asked` with `(number, outcome)`.

    All but the thread that listens belongs to one event loop.
    """

    def __init__(self, assignment: Assignment, asked: Connection, engine_of: EngineOf, reaper: Reaper) -> None:
        self._assignment = assignment
        self._asked = asked
        self._engine_of = engine_of
        self._reaper = reaper
        self._retries_before = retries()  # of the jobs that this process had before
        self._job: JobStore
        self._runner: ShardRunner | None = None
        self._begun: dict[int, asyncio.Task[Commit]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()
        self._dropped = Event()

    async def serve(self) -> None:
        """Serve the job until it is over here; by then its rows are out of the engine, and its answers are kept."""
        opening = asyncio.ensure_future(self._open())
        watching = asyncio.ensure_future(self._watch(opening))
        Thread(target=self._listen, args=(asyncio.get_running_loop(), opening), name="connection", daemon=True).start()
        await self._over.wait()
        await _end([opening, watching, *self._answering, *self._begun.values()])
        if self._runner is not None:
            await self._runner.close()
        self._asked.close()
        self._dropped.set()

    def _listen(self, loop: asyncio.AbstractEventLoop, opening: "asyncio.Future[ShardRunner]") -> None:
        """Hear the actor until it is gone; then keep what was answered since the last time, and end the service."""
        with suppress(EOFError, OSError):
            while True:
                shard = self._asked.recv()
                setproctitle.setproctitle(TITLE)
                asyncio.run_coroutine_threadsafe(self._begin_answer(shard, opening), loop)
        keeping = asyncio.run_coroutine_threadsafe(self._keep_last(opening), loop)
        try:
            keeping.result(KEEP_WITHIN_S)
        except Superseded:
            pass
        except Exception as error:  # noqa: BLE001 - a cache: what keeps it from being written costs some rows of work
            logger.warning("the last answers are not kept: %s", repr(error))
        if not self._assignment.keep_warm_s:
            os._exit(JOB_OVER_EXIT)
        loop.call_soon_threadsafe(self._over.set)
        if not self._dropped.wait(DROP_WITHIN_S):
            logger.warning(
                "the rows of a job that is over have not left the engine within %g s: it ends", DROP_WITHIN_S
            )
            logging.shutdown()
            os._exit(JOB_OVER_EXIT)

    async def _keep_last(self, opening: "asyncio.Future[ShardRunner]") -> None:
        runner = await opening
        # This process may have slept until the job was ended by another attempt, which has deleted its journal.
        await self._check_claim()
        await runner.keep_answers()

    async def _begin_answer(self, shard: int, opening: "asyncio.Future[ShardRunner]") -> None:
        answering = asyncio.ensure_future(self._answer(shard, opening))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)

    async def _answer(self, shard: int, opening: "asyncio.Future[ShardRunner]") -> None:
        outcome: Outcome
        try:
            runner = await asyncio.shield(opening)
            commit = await (self._begun.pop(shard, None) or runner.run(shard))
            outcome = receipt(commit, *runner.engine_identity())
        except* EngineDead as deaths:
            await self._leave(opening.result(), cause=first_line(root_cause(deaths)))
        except* Exception as errors:  # noqa: BLE001 - whoever asked hears of it
            outcome = as_job_failure(errors)
        with suppress(OSError):  # the actor is gone, which the thread that listens hears of
            self._asked.send((shard, outcome))

    async def _open(self) -> ShardRunner:
        self._job = await asyncio.to_thread(JobStore.open, self._assignment.job_uri)
        self._job.act_for(self._assignment.claim)
        await self._check_claim()
        past = await asyncio.to_thread(read_past, self._job)
        runner = self._runner = ShardRunner(
            self._job,
            self._engine_of(self._assignment, lambda: runner),
            epoch=self._assignment.claim.number,
            name=uuid4().hex[:8],
            past=past,
            replicas=self._assignment.replicas,
        )
        self._begun = {shard: asyncio.ensure_future(runner.run(shard)) for shard in self._assignment.first}
        return runner

    async def _leave(self, runner: ShardRunner, *, cause: str) -> NoReturn:
        """End this process, and with it the actor, for Ray Data to start a fresh one that runs its shards again.

        An actor that raises instead would end the whole job.
        """
        logger.error("the engine died: %s; a fresh actor takes its shards", cause)
        try:
            await runner.record_death()
        except (StoreError, JobGone) as error:
            logger.warning("what the engine had answered is lost to the next one: %s", error)
        os._exit(ENGINE_DEAD_EXIT)

    async def _watch(self, opening: "asyncio.Future[ShardRunner]") -> None:
        """Guard the engine's processes; end rows that take too long; report; keep answers; obey a stop.

        Return when a newer attempt has the job, or what keeps the runner from opening is to be told.
        """
        await asyncio.wait({opening})
        if opening.exception() is not None:
            return
        runner = opening.result()
        loop = asyncio.get_running_loop()
        kept_at = loop.time()
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            self._reaper.look()
            runner.end_overdue(loop.time())
            try:
                # Before anything is written: this process may have slept until the job was ended by another attempt.
                await self._check_claim()
                stop = await asyncio.to_thread(self._job.stop)
                if stop is not None:
                    runner.stop(stop)
                report = runner.report()
                report = replace(report, retries=report.retries - self._retries_before)
                await asyncio.to_thread(self._job.report_engine, report)
                now_s = loop.time()
                if now_s - kept_at >= self._job.spec().journal_every_s:
                    await runner.keep_answers()
                    kept_at = now_s
            except Superseded:
                return
            except StoreError as error:
                logger.warning("the store did not answer, asking again: %s", error)
            except BatchError as error:  # a damaged object, which the ledger's closing tells of, or the job is gone
                logger.warning("looking again: %s", error)

    async def _check_claim(self) -> None:
        """Leave the actor, and so end the service, when this attempt has the job no more. Raises Superseded then."""
        standing = await asyncio.to_thread(self._job.standing, self._assignment.claim.number)
        if standing is not Standing.OURS:
            logger.warning("attempt %d: %s; its engine leaves", self._assignment.claim.number, standing.value)
            _hang_up(self._asked)
            raise Superseded


async def _end(tasks: "Sequence[asyncio.Future[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _hang_up(connection: Connection) -> None:
    """End what both sides hear; to close it would not wake the thread that listens."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line, suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def receipt(commit: Commit, engine: str, version: str, config: dict[str, object]) -> Receipt:
    """Return what is told of a commit, and of the engine that made it."""
    return Receipt(
        shard=commit.shard,
        succeeded=commit.succeeded,
        failed=commit.failed,
        prompt_tokens=commit.usage.prompt_tokens,
        completion_tokens=commit.usage.completion_tokens,
        engine=engine,
        engine_version=version,
        engine_config=orjson.dumps(config).decode(),
    )


def as_job_failure(error: BaseException) -> Ours:
    """Return the error of ours at its root, else one that names it and says where the rest is: in the log."""
    root = root_cause(error)
    if isinstance(root, Ours):
        return root
    logger.error("an engine's process failed", exc_info=error)
    return unforeseen(root, first_line(root))
