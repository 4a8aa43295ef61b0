"""A job small enough to be run thousands of times, and one attempt at it through the code that ships.

The claim, the plan, the shards of a replica, the ledger: all real; the engine, the clock and the order of things are
the test's. Knows nothing of faults.
"""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from jobs import ENGINE, FakeClock, make_spec

from batch.errors import JobGone
from batch.jobs.audit import audit
from batch.jobs.lease import Lease, claim
from batch.jobs.prefix_clustering import cluster_by_prefix
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.planning.plan import Plan, make_plan
from batch.records.manifest import Manifest
from batch.records.objects import Commit, Exit, Holder, Progress
from batch.records.state import HEARTBEAT_TTL_S
from batch.result import Usage, row_id
from batch.rows.request import Request
from batch.spec.job_spec import JobSpec
from connectors.errors import StoreError
from connectors.stores.registry import open_store
from pipelines.attempt.finalize import finalize
from pipelines.engines.base import Answer, Engine
from pipelines.shards.runner import ShardRunner

INPUTS = "memory://chaos-inputs"
_CUSTOM_ID = re.compile(rb'"custom_id":"([^"]*)"')
LINES = (
    b'{"custom_id":"a","body":{"messages":[]}}',
    b"{broken",
    b"",
    b'{"custom_id":"b","body":{"messages":[]}}',
    b"7",
)


@dataclass(frozen=True, slots=True)
class Job:
    """Four rows, two of them bad, and a blank line. `plans`: two ways to cut them into two shards.

    Drivers come with one or the other, so that one that does not keep to the stored plan is found out.
    """

    spec: JobSpec
    plans: tuple[Plan, Plan]

    @property
    def custom_ids(self) -> set[str]:
        content = open_store(INPUTS).get(self.spec.inputs[0].rpartition("/")[2])
        return {name.decode() for name in _CUSTOM_ID.findall(content)}

    @property
    def row_ids(self) -> list[str]:
        return [row_id(self.spec.job_id, 0, number) for number, line in enumerate(LINES, 1) if line]


def make_job(*, is_scattered: bool = False, suffix: bytes = b"", token: str = "1f") -> Job:
    """`is_scattered`: its lines are worth to be copied into another order. `suffix`: of the ids, of its own input."""
    name = f"in{suffix.decode()}.jsonl"
    open_store(INPUTS).put(name, _CUSTOM_ID.sub(rb'"custom_id":"\1' + suffix + b'"', b"\n".join(LINES) + b"\n"))
    spec = make_spec(inputs=(f"{INPUTS}/{name}",), shard_rows=3, token=token)
    plans = make_plan(spec), make_plan(replace(spec, shard_rows=4))
    assert [[shard.rows for shard in plan.shards] for plan in plans] == [[2, 2], [3, 1]]
    if is_scattered:
        first, second = (replace(plan, inputs=(replace(plan.inputs[0], saving=1.0),)) for plan in plans)
        return Job(spec, (first, second))
    return Job(spec, plans)


@dataclass(slots=True)
class Attempt:
    """One driver: the calls of `pipelines.worker.attend` in their order, without a cluster between them.

    It goes on when its lease is lost: the worst zombie. `committed` and `manifest` are what it was told.
    """

    job: JobStore
    plan: Plan
    name: str
    committed: list[Commit] = field(default_factory=list)
    manifest: Manifest | None = None
    error: BaseException | None = None

    def run(self) -> None:
        """To the end of the job, or to the error that ends the attempt."""
        try:
            self.manifest = self._attend()
        except BaseException as error:  # noqa: BLE001 - a crash too is kept for whoever judges the run
            self.error = error

    def made_plan(self) -> Plan:
        """What this driver would plan."""
        return self.plan

    def _attend(self) -> Manifest:
        self.job.spec()
        standing = self.job.manifest()
        if standing is not None:
            self.job.collect_garbage(standing)
            return standing
        clock = SlowClock()
        lease = claim(self.job, Holder(self.name, 1), clock=clock)
        try:
            plan = self.job.plan() or self.job.create_plan(cluster_by_prefix(self.job, self.made_plan(), engines=2))
            asyncio.run(self._run_shards(plan, lease))
            manifest = finalize(self.job, plan, epoch=lease.epoch.number, engine=ENGINE, clock=clock)
        except BaseException as error:
            with suppress(StoreError, JobGone):
                lease.end(Exit.FAILED, str(error))
            raise
        lease.end(Exit.FINISHED, manifest.state)
        return manifest

    async def _run_shards(self, plan: Plan, lease: Lease) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(InThisThread())
        starting: asyncio.Future[Engine] = loop.create_future()
        starting.set_result(Signing(self.name))
        replica = ShardRunner(self.job, starting, epoch=lease.epoch.number, name=self.name)
        committed = audit(self.job, thorough=False).commits
        for shard in plan.shards:
            if shard.index in committed:
                continue
            stop = self.job.stop()
            if stop is not None:
                replica.stop(stop)
            self.committed.append(await replica.run(shard.index))
            lease.renew(Phase.RUNNING, Progress())


class Signing:
    """An engine whose answers carry the driver's name: no two attempts write the same bytes."""

    name = "signing"
    version = "1"
    window = 4

    def __init__(self, driver: str) -> None:
        self.config: dict[str, object] = {}
        self._body = orjson.dumps({"by": driver})

    async def answer(self, request: Request) -> Answer:
        return Answer(200, self._body, Usage(1, 1))

    async def close(self) -> None:
        return


class SlowClock(FakeClock):
    """A driver's own. Who watches a silent holder looks once, and then again when its time is up."""

    def sleep(self, seconds: float) -> None:
        super().sleep(max(seconds, HEARTBEAT_TTL_S))


class InThisThread(ThreadPoolExecutor):
    """What asyncio hands to threads is done at once, in the thread of the driver."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(fn(*args, **kwargs))
        return done
