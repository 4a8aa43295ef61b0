"""The end of a job that is stopped while no engine is there: its rows end without one.

Rows that an earlier engine answered keep their answers, bad ones their own codes. Knows nothing of Ray.
"""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

from batch.jobs.audit import waiting_shards
from batch.jobs.store import JobStore
from batch.planning.plan import UNREAD, Plan
from batch.records.objects import Commit, Stop
from pipelines.shards.journal import read_past
from pipelines.shards.runner import ShardRunner


def standing_plan(job: JobStore) -> Plan:
    """Return the stored plan; where there is none, a job is stopped before it has read its inputs: that of no line."""
    return job.plan() or job.create_plan(UNREAD)


def end_rows(job: JobStore, plan: Plan, stop: Stop, *, epoch: int) -> Iterator[Commit]:
    """End every row of the shards that have no commit, or one whose parts are gone; yield the commits as they come."""
    waiting = waiting_shards(job, plan)
    if not waiting:
        return
    with asyncio.Runner() as loop:
        runner = loop.run(_stopped_runner(job, stop, epoch=epoch))
        for index in waiting:
            yield loop.run(runner.run(index))


async def _stopped_runner(job: JobStore, stop: Stop, *, epoch: int) -> ShardRunner:
    past = await asyncio.to_thread(read_past, job)
    never = asyncio.get_running_loop().create_future()
    runner = ShardRunner(job, never, epoch=epoch, name=uuid4().hex[:8], past=past)
    runner.stop(stop)
    return runner
