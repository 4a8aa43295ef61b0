"""Planned jobs run to their end: the real replica and ledger, an engine that refuses the rows it is told to."""

import asyncio
from collections.abc import Mapping

from engines import ScriptedEngine, answered, refused, started
from jobs import ENGINE, HOLDER, FakeClock

from batch.jobs.lease import claim
from batch.jobs.store import JobStore
from batch.planning.plan import Plan
from batch.records.manifest import Manifest
from batch.result import Code
from batch.rows.request import Request
from pipelines.attempt.finalize import finalize
from pipelines.engines.base import Answer
from pipelines.shards.runner import ShardRunner

Failing = Mapping[str, Code]
"""custom_id -> the code that the engine refuses the row with."""


def plan_of(job: JobStore) -> Plan:
    plan = job.plan()
    assert plan is not None
    return plan


def end(job: JobStore, failing: Failing | None = None) -> Manifest:
    """Answer every row of a planned job and close its ledger."""
    codes = failing or {}

    def answer(request: Request, _: int) -> Answer:
        code = codes.get(request.custom_id)
        return refused(400, code) if code else answered(request)

    async def run() -> None:
        replica = ShardRunner(job, started(ScriptedEngine(answer)), epoch=1, name="a")
        for shard in plan_of(job).shards:
            await replica.run(shard.index)

    claim(job, HOLDER, clock=FakeClock())
    asyncio.run(run())
    return finalize(job, plan_of(job), epoch=1, engine=ENGINE, clock=FakeClock())
