"""Engines for tests, at the seam where a real one stands; and planned jobs small enough to count their calls."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import orjson
from fast_loop import run_fast
from jobs import make_spec

from batch.jobs.store import JobStore
from batch.planning.plan import make_plan
from batch.records.objects import Commit
from batch.result import Code, Usage
from batch.rows.request import CHAT, Request
from connectors.stores.registry import open_store
from pipelines.engines.base import Answer, Engine, EngineDead
from pipelines.shards.runner import ShardRunner

Line = dict[str, Any]


def row(custom_id: str, text: str = "1 + 1?", **fields: Any) -> Line:
    return {"custom_id": custom_id, "body": {"messages": [{"role": "user", "content": text}]}, **fields}


def chat(custom_id: str, text: str = "1 + 1?", **parameters: Any) -> Line:
    """A row whose body has these parameters."""
    return {"custom_id": custom_id, "body": {"messages": [{"role": "user", "content": text}], **parameters}}


def request(custom_id: str = "a", endpoint: str = CHAT, **body: Any) -> Request:
    return Request(custom_id, endpoint, body)


def rows(count: int) -> list[Line]:
    return [row(f"r{number}") for number in range(count)]


def file_content(lines: Sequence[object]) -> bytes:
    """A file of these lines, bytes or what becomes JSON."""
    return b"\n".join(line if isinstance(line, bytes) else orjson.dumps(line) for line in lines) + b"\n"


def planned_job(lines: Sequence[object], *, root: str | None = None, **spec: Any) -> JobStore:
    """A job over one file with these lines; planned and not begun."""
    place = root or f"memory://engines-{uuid4().hex}/job"
    open_store(place).put("in.jsonl", file_content(lines))
    asked = make_spec(inputs=(f"{place}/in.jsonl",), output=f"{place}/out", **spec)
    job = JobStore.open(asked.output)
    job.create_spec(asked)
    job.create_plan(make_plan(asked))
    return job


def output(job: JobStore, kind: str = "results") -> list[Line]:
    """The lines of results or errors, decoded."""
    return [orjson.loads(line) for line in job.lines("results" if kind == "results" else "errors")]


def ids(job: JobStore, kind: str = "results") -> list[object]:
    return [line["custom_id"] for line in output(job, kind)]


def answered(request: Request) -> Answer:
    return Answer(200, orjson.dumps({"answers": request.custom_id}), Usage(2, 1))


def refused(status_code: int, code: Code, body: bytes = b'{"error": {"message": "no"}}') -> Answer:
    return Answer(status_code, body, Usage(), code)


class ScriptedEngine:
    """Answers by a function of the request and of how often it was asked; counts what it is asked."""

    name = "scripted"
    version = "7"

    def __init__(
        self,
        script: Callable[[Request, int], Answer] = lambda request, _: answered(request),
        *,
        window: int = 4,
        delay_s: Callable[[Request], float] = lambda _: 0.0,
    ) -> None:
        self.config: dict[str, object] = {"window": window}
        self.window = window
        self.asked: list[str] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self._script = script
        self._delay_s = delay_s

    async def answer(self, request: Request) -> Answer:
        self.asked.append(request.custom_id)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self._delay_s(request))
            return self._script(request, self.asked.count(request.custom_id))
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        return


def dies(request: Request, times: int) -> Answer:
    raise EngineDead(f"at {request.custom_id}")


async def started(engine: Engine) -> Engine:
    return engine


def runner_of(job: JobStore, engine: Engine, *, epoch: int = 1) -> ShardRunner:
    return ShardRunner(job, started(engine), epoch=epoch, name="a")


async def run_shards(job: JobStore, replica: ShardRunner) -> list[Commit]:
    """Every shard at once, as Ray Data hands them to an actor."""
    plan = job.plan()
    assert plan is not None
    return list(await asyncio.gather(*(replica.run(shard.index) for shard in plan.shards)))


def run_job(job: JobStore, engine: Engine, *, epoch: int = 1) -> list[Commit]:
    async def run() -> list[Commit]:
        return await run_shards(job, runner_of(job, engine, epoch=epoch))

    return run_fast(run())
