"""The process that one engine answers shards in: it owns a runner and its event loop, and vLLM's front end.

An actor asks it over a connection, and it ends with that actor. Knows nothing of Ray.
"""

import asyncio
import gc
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from threading import Thread
from typing import NoReturn, TypeAlias
from uuid import uuid4

import orjson
import setproctitle
import uvloop

from batch.errors import BatchError, JobGone
from batch.jobs.lease import STORE_PATIENCE_S
from batch.jobs.store import JobStore, Standing
from batch.records.objects import Commit, Epoch
from connectors.errors import StoreError
from connectors.stores.retry import be_patient
from pipelines.engines.base import Engine, EngineDead
from pipelines.engines.registry import start_engine
from pipelines.errors import Ours, cannot_start, first_line, root_cause, told, unforeseen
from pipelines.models.fetch import local_model
from pipelines.processes import job_log, sizing
from pipelines.processes.reaper import FINISHES, Reaper
from pipelines.shards.journal import read_past
from pipelines.shards.runner import ShardRunner

logger = logging.getLogger(__name__)

TITLE = FINISHES
PRESTARTED_TITLE = f"{TITLE} prestarted"
"""Of a host that no actor has asked for a shard."""
ACTOR_GONE_EXIT = 0
ENGINE_DEAD_EXIT = 17
SUPERSEDED_EXIT = 18
WATCH_INTERVAL_S = 1.0
KEEP_WITHIN_S = 3.0
"""How long a host may outlive its actor to keep what it has answered."""
GC_THRESHOLDS = (100_000, 20, 50)
"""Of the garbage collector, while rows are answered. At Python's own (700, 10, 10) it took a seventh of this process's
time, for thousands of open rows are looked through again and again, of which nearly all end without it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a host is for. `claim`: the attempt's; `replicas`: engines that share the job; `rows`: of the whole job.

    `first`: shards that will be asked for first, which it begins with as soon as it can.
    """

    job_uri: str
    claim: Epoch
    replicas: int
    world_size: int
    rows: int
    first: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a host says of a shard that it committed."""

    shard: int
    succeeded: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    engine: str
    engine_version: str
    engine_config: str


Outcome: TypeAlias = Receipt | Ours


def main(connection: Connection, assignment: Assignment) -> None:
    """Answer each shard number that comes over the `connection` with `(number, outcome)`; end when it is closed."""
    setproctitle.setproctitle(PRESTARTED_TITLE)
    job_log.begin()
    be_patient(STORE_PATIENCE_S)
    uvloop.run(EngineHost(connection, assignment).serve())


class EngineHost:
    """All but the thread that listens belongs to one event loop."""

    def __init__(self, connection: Connection, assignment: Assignment) -> None:
        self._connection = connection
        self._assignment = assignment
        self._job: JobStore
        self._reaper = Reaper()
        self._begun: dict[int, asyncio.Future[Commit]] = {}

    async def serve(self) -> None:
        """Open the runner and watch over it. What keeps it from opening is told to whoever asks for a shard."""
        opening = asyncio.ensure_future(self._open())
        Thread(target=self._listen, args=(asyncio.get_running_loop(), opening), name="connection", daemon=True).start()
        await asyncio.wait({opening})
        if opening.exception() is None:
            await self._watch(opening.result())
        await asyncio.Event().wait()  # for the connection's end

    def _listen(self, loop: asyncio.AbstractEventLoop, opening: "asyncio.Future[ShardRunner]") -> NoReturn:
        while True:
            try:
                shard = self._connection.recv()
            except (EOFError, OSError):
                self._end_with_actor(loop, opening)
            setproctitle.setproctitle(TITLE)
            asyncio.run_coroutine_threadsafe(self._answer(shard, opening), loop)

    def _end_with_actor(self, loop: asyncio.AbstractEventLoop, opening: "asyncio.Future[ShardRunner]") -> NoReturn:
        """Keep what was answered since the last time, so that an interruption costs nothing, and end this process."""
        keeping = asyncio.run_coroutine_threadsafe(self._keep_last(opening), loop)
        try:
            keeping.result(KEEP_WITHIN_S)
        except Exception as error:  # noqa: BLE001 - a cache: what keeps it from being written costs some rows of work
            logger.warning("the last answers are not kept: %s", repr(error))
        os._exit(ACTOR_GONE_EXIT)

    async def _keep_last(self, opening: "asyncio.Future[ShardRunner]") -> None:
        runner = await opening
        # This process may have slept until the job was ended by another attempt, which has deleted its journal.
        if await asyncio.to_thread(self._job.standing, self._assignment.claim.number) is Standing.OURS:
            await runner.keep_answers()

    async def _answer(self, shard: int, opening: "asyncio.Future[ShardRunner]") -> None:
        outcome: Outcome
        try:
            runner = await opening
            commit = await (self._begun.pop(shard, None) or runner.run(shard))
            outcome = receipt(commit, *runner.engine_identity())
        except* EngineDead as deaths:
            await self._leave(opening.result(), cause=first_line(root_cause(deaths)))
        except* Exception as errors:  # noqa: BLE001 - whoever asked hears of it
            outcome = as_job_failure(errors)
        self._connection.send((shard, outcome))

    async def _open(self) -> ShardRunner:
        self._job = await asyncio.to_thread(JobStore.open, self._assignment.job_uri)
        self._job.act_for(self._assignment.claim)
        await self._check_claim()
        past = await asyncio.to_thread(read_past, self._job)
        runner = ShardRunner(
            self._job,
            self._start_engine(lambda: runner),
            epoch=self._assignment.claim.number,
            name=uuid4().hex[:8],
            past=past,
            replicas=self._assignment.replicas,
        )
        self._begun = {shard: asyncio.ensure_future(runner.run(shard)) for shard in self._assignment.first}
        return runner

    async def _start_engine(self, runner: Callable[[], ShardRunner]) -> Engine:
        """Start the engine as soon as a row needs one. The runner is not there yet when this is called."""
        await runner().needs_engine()
        spec, assignment = self._job.spec(), self._assignment
        share = sizing.claim_share(f"{spec.job_id}-{assignment.claim.number}", assignment.replicas)
        machine = sizing.this_machine(share, assignment.replicas)
        model = spec.model
        if spec.engine == "vllm":
            model = await asyncio.to_thread(local_model, model)
            adapters = {name: await asyncio.to_thread(local_model, place) for name, place in spec.lora.items()}
            spec = replace(spec, lora=adapters)
        os.environ |= sizing.engine_environment(machine, assignment.world_size, weights=(model, *spec.lora.values()))
        try:
            engine = await start_engine(spec, model, machine, rows=assignment.rows, waiting=runner().waiting)
        except Exception as error:
            raise as_start_failure(error) from error
        # What the engine's libraries hold stays for good: the collector need not look through it between two rows.
        # Nor now, for a third of a second: it would find 850 objects.
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        return engine

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

    async def _watch(self, runner: ShardRunner) -> NoReturn:
        """Guard the engine's processes; end rows that take too long; report; keep answers; obey a stop.

        Leave when a newer attempt has the job.
        """
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
                await asyncio.to_thread(self._job.report_engine, runner.report())
                now_s = loop.time()
                if now_s - kept_at >= self._job.spec().journal_every_s:
                    await runner.keep_answers()
                    kept_at = now_s
            except StoreError as error:
                logger.warning("the store did not answer, asking again: %s", error)
            except BatchError as error:  # a damaged object, which the ledger's closing tells of, or the job is gone
                logger.warning("looking again: %s", error)

    async def _check_claim(self) -> None:
        """End this process when its attempt has the job no more."""
        standing = await asyncio.to_thread(self._job.standing, self._assignment.claim.number)
        if standing is not Standing.OURS:
            logger.warning("attempt %d: %s; its engine leaves", self._assignment.claim.number, standing.value)
            os._exit(SUPERSEDED_EXIT)


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


def as_start_failure(error: Exception) -> Ours:
    """Return the error of ours at its root, else one that says by the root why the engine does not start."""
    root = root_cause(error)
    if isinstance(root, Ours):
        return root
    logger.error("the engine cannot start", exc_info=error)
    return cannot_start(told(root))


def as_job_failure(error: BaseException) -> Ours:
    """Return the error of ours at its root, else one that names it and says where the rest is: in the log."""
    root = root_cause(error)
    if isinstance(root, Ours):
        return root
    logger.error("an engine's process failed", exc_info=error)
    return unforeseen(root, first_line(root))
