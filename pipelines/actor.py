"""The callable that Ray Data runs in each engine actor: it owns one replica and its event loop.

Knows nothing of how shards are chosen or of what becomes of the receipts.
"""

import asyncio
import gc
import logging
import os
from threading import Thread
from typing import Any, NoReturn
from uuid import uuid4

import orjson
import pyarrow as pa

from batch.job_store import JobStore
from connectors.errors import StoreError
from pipelines import sizing
from pipelines.engines.base import Engine, EngineDead, Waiting
from pipelines.engines.registry import start_engine
from pipelines.guardian import Guardian
from pipelines.journal import read_past
from pipelines.models.fetch import local_model
from pipelines.replica import Replica

logger = logging.getLogger(__name__)

ENGINE_DEAD_EXIT = 17
SUPERSEDED_EXIT = 18
WATCH_INTERVAL_S = 1.0


class EngineActor:
    """Answers shards: `{"shard": [n]}` in, one receipt out, when the shard is committed."""

    def __init__(self, job_uri: str, *, epoch: int, replicas: int, world_size: int, rows: int) -> None:
        # A loop of our own: Ray Data's loop blocks while it hands results on.
        self._loop = asyncio.new_event_loop()
        Thread(target=self._loop.run_forever, name="replica", daemon=True).start()
        self._job = JobStore.open(job_uri)
        self._epoch = epoch
        self._guardian = Guardian()
        machine = sizing.this_machine(sizing.claim_share(f"{self._job.spec().job_id}-{epoch}", replicas), replicas)
        self._machine, self._world_size, self._rows, self._replicas = machine, world_size, rows, replicas
        self._replica = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result()

    async def __call__(self, block: pa.Table) -> dict[str, list[Any]]:
        shard = block.column("shard")[0].as_py()
        running = asyncio.run_coroutine_threadsafe(self._replica.run(shard), self._loop)
        try:
            commit = await asyncio.wrap_future(running)
        except* EngineDead:
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._leave(), self._loop))
        name, version, config = self._replica.engine_identity()
        return {
            "shard": [shard],
            "succeeded": [commit.succeeded],
            "failed": [commit.failed],
            "prompt_tokens": [commit.usage.prompt_tokens],
            "completion_tokens": [commit.usage.completion_tokens],
            "engine": [name],
            "engine_version": [version],
            "engine_config": [orjson.dumps(config).decode()],
        }

    async def _open(self) -> Replica:
        past = await asyncio.to_thread(read_past, self._job)
        name = uuid4().hex[:8]
        replica = Replica(
            self._job,
            self._start_engine(lambda: replica.waiting()),  # noqa: PLW0108 - there is none yet
            epoch=self._epoch,
            name=name,
            past=past,
            replicas=self._replicas,
        )
        self._watching = asyncio.ensure_future(self._watch(replica))
        return replica

    async def _start_engine(self, waiting: Waiting) -> Engine:
        spec = self._job.spec()
        model = await asyncio.to_thread(local_model, spec.model) if spec.engine == "vllm" else spec.model
        sizing.prepare(self._machine, self._world_size, model=model)
        engine = await start_engine(spec, model, self._machine, rows=self._rows, waiting=waiting)
        # What the engine's libraries hold stays for good: the collector need not look through it between two rows.
        # Nor now, for a third of a second: it would find 850 objects.
        gc.freeze()
        return engine

    async def _leave(self) -> NoReturn:
        """End this process, for Ray Data to start a fresh one that runs its shards again.

        An actor that raises instead would end the whole job.
        """
        logger.error("the engine died; a fresh actor takes its shards")
        try:
            await self._replica.record_death()
        except StoreError as error:
            logger.warning("what the engine had answered is lost to the next one: %s", error)
        os._exit(ENGINE_DEAD_EXIT)

    async def _watch(self, replica: Replica) -> None:
        """Guard the engine's processes; report; keep answers; obey a stop; leave when a newer attempt has the job."""
        kept_at = self._loop.time()
        while True:
            await asyncio.sleep(WATCH_INTERVAL_S)
            self._guardian.look()
            try:
                # Before anything is written: this process may have slept until the job was ended by another attempt.
                successor = await asyncio.to_thread(self._job.epoch, self._epoch + 1)
                if successor is not None:
                    logger.warning("attempt %d has taken this job over from attempt %d", successor.number, self._epoch)
                    os._exit(SUPERSEDED_EXIT)
                stop = await asyncio.to_thread(self._job.stop)
                if stop is not None:
                    replica.stop(stop)
                await asyncio.to_thread(self._job.report_engine, replica.report())
                if self._loop.time() - kept_at >= self._job.spec().journal_every_s:
                    kept_at = self._loop.time()
                    await replica.keep_answers()
            except StoreError as error:
                logger.warning("the store did not answer, asking again: %s", error)
