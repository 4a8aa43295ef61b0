"""Many engines without their hardware: our replicas and their admission over vLLM's own schedulers, in virtual time.

Shards are dealt as Ray Data's pool of actors does: to the engine that has the fewest, up to twice as many as it opens.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any, TypeVar
from uuid import uuid4

from batch.jobs.prefix_clustering import cluster_by_prefix
from batch.jobs.store import JobStore
from batch.planning.plan import make_plan
from batch.spec.job_spec import JobSpec
from benchmarks.ceiling import ceiling_share, chat_tokenizer
from benchmarks.measuring import BUILD
from benchmarks.simulated_engine import Device, SimulatedEngine
from benchmarks.steps import Work
from benchmarks.tables import table
from benchmarks.workloads import SERVED_MODEL, Workload
from pipelines.cluster.graph import shards_at_once
from pipelines.models.random_weights import NAMED_SHAPES, build
from pipelines.shards.runner import ShardRunner

Returned = TypeVar("Returned")

CREATED_AT = "2026-01-01T00:00:00.000000Z"
WHOLE_CACHE_TOKENS = 1 << 19
"""Of an engine whose workload names no size: more than any of them fills."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a number of engines did with a workload."""

    makespan_s: float
    works: Sequence[Work]

    @property
    def hit_share(self) -> float:
        """Prompt tokens that the caches served, of all engines together."""
        return sum(work.cached_tokens for work in self.works) / sum(work.prompt_tokens for work in self.works)

    @property
    def balance(self) -> float:
        """The makespan over that of the same work spread evenly."""
        return self.makespan_s * len(self.works) / sum(work.busy_s for work in self.works)


def run(workload: Workload, engines: Sequence[int]) -> str:
    """Simulate the workload on each number of engines; return the table."""
    model = BUILD / "model-3M"
    build(model, NAMED_SHAPES["3M"])
    device = Device(workload.kv_tokens or WHOLE_CACHE_TOKENS)
    rows: list[tuple[str, ...]] = [
        ("engines", "makespan s", "of an even spread", "cached %", "steps", "rows a step", "preemptions")
    ]
    for number in engines:
        outcome = asyncio.run(simulate(workload, str(model), device, engines=number))
        steps = sum(work.steps for work in outcome.works)
        cells = (
            str(number),
            f"{outcome.makespan_s:.1f}",
            f"{outcome.balance:.3f}",
            f"{100 * outcome.hit_share:.1f}",
            f"{steps:,}",
            f"{sum(work.slots for work in outcome.works) / steps:.1f}",
            str(sum(work.preemptions for work in outcome.works)),
        )
        print(dict(zip(rows[0], cells, strict=True)), flush=True)
        rows.append(cells)
    ceiling = ceiling_share(workload, str(model), block_size=device.block_size)
    return f"{table(rows)}\n\nOne cache without end would serve {ceiling:.1%} of the prompt tokens."


async def simulate(workload: Workload, model: str, device: Device, *, engines: int) -> Outcome:
    """Answer the workload with so many engines in virtual time."""
    asyncio.get_running_loop().set_default_executor(_Inline())
    job = _planned_job(workload, engines)
    tokenize = chat_tokenizer(model)
    simulated = [SimulatedEngine(model, device, tokenize) for _ in range(engines)]
    loaded = asyncio.Event()  # as with an engine that has weights to load, rows stand in line when it is ready
    replicas = [
        ShardRunner(job, _started(engine, loaded), epoch=1, name=f"r{number}", replicas=engines)
        for number, engine in enumerate(simulated)
    ]
    dealing = asyncio.ensure_future(_deal(job, replicas))
    await _quiet()
    loaded.set()
    makespan_s = await _let_time_pass(simulated)
    await dealing
    return Outcome(makespan_s, [engine.work for engine in simulated])


async def _let_time_pass(engines: Sequence[SimulatedEngine]) -> float:
    """Begin and end the steps of all engines in their order; return the second in which the last one ended."""
    ends: list[tuple[float, int]] = []
    now_s = 0.0
    while True:
        await _quiet()
        for number, engine in enumerate(engines):
            if not engine.is_idle:
                heappush(ends, (now_s + engine.begin_step(), number))
        if not ends:
            return now_s
        now_s, number = heappop(ends)
        engines[number].end_step()


async def _deal(job: JobStore, replicas: Sequence[ShardRunner]) -> None:
    plan = job.plan()
    assert plan is not None
    at_once = shards_at_once(plan, range(len(plan.shards)))
    places = [asyncio.Semaphore(at_once) for _ in replicas]
    dealt = [0] * len(replicas)
    ended = asyncio.Event()

    async def run_shard(index: int, engine: int) -> None:
        async with places[engine]:
            await replicas[engine].run(index)
        dealt[engine] -= 1
        ended.set()

    async with asyncio.TaskGroup() as running:
        for shard in plan.shards:
            while min(dealt) == 2 * at_once:
                ended.clear()
                await ended.wait()
            engine = dealt.index(min(dealt))
            dealt[engine] += 1
            running.create_task(run_shard(shard.index, engine))


async def _quiet() -> None:
    """Return when no task has anything to do before the next step ends."""
    loop: Any = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(0)
        if not loop._ready:
            return


class _Inline(ThreadPoolExecutor):
    """Does at once, in the loop's thread, what is given to it: no thread's time is in the simulation."""

    def submit(self, fn: Callable[..., Returned], /, *args: object, **kwargs: object) -> Future[Returned]:
        future: Future[Returned] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as any executor: it belongs to whoever waits
            future.set_exception(error)
        return future


def _planned_job(workload: Workload, engines: int) -> JobStore:
    spec = JobSpec(
        job_id="simulated",
        inputs=(str(workload.requests),),
        output=f"memory://simulated/{uuid4().hex}",
        model="simulated",
        served_model_names=(SERVED_MODEL,),
        created_at=CREATED_AT,
        engine="echo",
    )
    job = JobStore.open(spec.output)
    job.create_spec(spec)
    plan = make_plan(spec, max_replicas=engines)
    job.create_plan(cluster_by_prefix(job, plan, engines=engines))
    return job


async def _started(engine: SimulatedEngine, loaded: asyncio.Event) -> SimulatedEngine:
    await loaded.wait()
    return engine
