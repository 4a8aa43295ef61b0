"""The end of a job that is stopped while no engine is there: its rows end without one.

Rows that an earlier engine answered keep their answers, bad ones their own codes. Knows nothing of Ray.
"""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

from batch.audit import audit
from batch.job_store import JobStore
from batch.plan import UNREAD, Plan
from batch.records import Commit, Stop
from pipelines.journal import read_past
from pipelines.replica import Replica


def standing_plan(job: JobStore) -> Plan:
    """Return the stored plan; where there is none, a job is stopped before it has read its inputs: that of no line."""
    return job.plan() or job.create_plan(UNREAD)


def end_rows(job: JobStore, plan: Plan, stop: Stop, *, epoch: int) -> Iterator[Commit]:
    """End every row of the shards that have no commit, or one whose parts are gone; yield the commits as they come."""
    committed = audit(job, thorough=False).commits
    waiting = [shard.index for shard in plan.shards if shard.index not in committed]
    if not waiting:
        return
    with asyncio.Runner() as runner:
        replica = runner.run(_stopped_replica(job, stop, epoch=epoch))
        for index in waiting:
            yield runner.run(replica.run(index))


async def _stopped_replica(job: JobStore, stop: Stop, *, epoch: int) -> Replica:
    past = await asyncio.to_thread(read_past, job)
    never = asyncio.get_running_loop().create_future()
    replica = Replica(job, never, epoch=epoch, name=uuid4().hex[:8], past=past)
    replica.stop(stop)
    return replica
