"""The callable that Ray Data runs in each engine actor: it asks its engine process for shards, and hands receipts on.

Knows nothing of engines, and of how shards are chosen.
"""

import asyncio
import os
from concurrent.futures import Future
from dataclasses import asdict
from threading import Thread
from typing import Any, NoReturn

import pyarrow as pa

from pipelines.engine_process import pool
from pipelines.engine_process.pool import PoolAddress
from pipelines.engine_process.service import ENGINE_DEAD_EXIT, Assignment, Outcome, Receipt
from pipelines.processes import temporary_folder


class EngineActor:
    """Answers shards: `{"shard": [n]}` in, one receipt out, when the shard is committed."""

    def __init__(self, assignment: Assignment, address: PoolAddress | None) -> None:
        """`address`: of this machine's pool of engine processes; None where nobody is known who has one."""
        if address is None:
            self._reaper = temporary_folder.settle(assignment.job_uri)
            pool.import_libraries(assignment.config)
            self._reaper.look()
            self._pool = pool.Pool()
            address = self._pool.address
        try:
            self._process = pool.ask(address, assignment)
        except (EOFError, OSError):
            os._exit(ENGINE_DEAD_EXIT)
        self._asked: dict[int, Future[Receipt]] = {}
        Thread(target=self._listen, name="engine process", daemon=True).start()

    async def __call__(self, block: pa.Table) -> dict[str, list[Any]]:
        shard = block.column("shard")[0].as_py()
        answer: Future[Receipt] = Future()
        answer.set_running_or_notify_cancel()  # from now on nobody can cancel it
        self._asked[shard] = answer
        self._process.send(shard)
        receipt = await asyncio.wrap_future(answer)
        return {name: [value] for name, value in asdict(receipt).items()}

    def _listen(self) -> NoReturn:
        """Hand on what the engine process sends. When that is gone this one goes too, and Ray starts another actor."""
        while True:
            try:
                heard: tuple[int, Outcome] = self._process.recv()
            except (EOFError, OSError):
                os._exit(ENGINE_DEAD_EXIT)
            shard, outcome = heard
            if isinstance(outcome, Receipt):
                self._asked.pop(shard).set_result(outcome)
            else:
                self._asked.pop(shard).set_exception(outcome)
