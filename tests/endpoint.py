"""An HTTP server on loopback that answers as it is told to, and the engine `openai` on it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import orjson
from aiohttp import web
from engines import run_shards, runner_of
from fast_loop import run_fast
from jobs import make_spec

from batch.jobs.store import JobStore
from batch.rows.request import Request
from batch.spec.job_spec import JobSpec
from pipelines.engines.base import Answer
from pipelines.engines.openai.engine import OpenAIEngine
from pipelines.engines.retries import settled

T = TypeVar("T")

COMPLETION = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "forty\n two"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
}
CUT = web.Response(body=orjson.dumps(COMPLETION))
"""An answer whose connection ends in the middle of the body."""


class Endpoint:
    """Answers call after call with what it was given; the last one again and again. Notes what it was asked.

    A prompt that `answers_to` names gets its own answer.
    """

    def __init__(self, *answers: web.Response | Exception, **answers_to: web.Response) -> None:
        self._answers_to = answers_to
        self._answers = answers
        self.asked: list[tuple[str, object]] = []
        self.asked_at_s: list[float] = []
        self.keys: set[str | None] = set()
        self.in_flight = self.most_in_flight = 0
        self.models = web.json_response({"data": []})
        self.delay_s = 0.0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.keys.add(request.headers.get("Authorization"))
        if request.path.endswith("/models"):
            return self.models
        self.in_flight += 1
        self.most_in_flight = max(self.in_flight, self.most_in_flight)
        self.asked.append((request.path, orjson.loads(await request.read())))
        self.asked_at_s.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.delay_s)
        self.in_flight -= 1
        answer = self._answers_to.get(self._prompt(), self._answers[min(len(self.asked), len(self._answers)) - 1])
        if answer is CUT:
            return await self._half(request, CUT)
        if isinstance(answer, Exception):
            assert request.transport is not None
            request.transport.close()
            raise answer
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    def _prompt(self) -> str:
        body = self.asked[-1][1]
        messages = body.get("messages") if isinstance(body, dict) else None
        return str(messages[-1]["content"]) if messages else ""

    @staticmethod
    async def _half(request: web.BaseRequest, answer: web.Response) -> web.StreamResponse:
        body = answer.body
        assert isinstance(body, bytes)
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        assert request.transport is not None
        request.transport.close()
        return response


async def on_server(endpoint: Endpoint, use: Callable[[OpenAIEngine], Awaitable[T]], **arguments: str | float) -> T:
    """What `use` makes of an engine that was started on the endpoint."""
    runner = web.ServerRunner(web.Server(endpoint))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        engine = await OpenAIEngine.start(spec_for(f"http://{address_of(runner)}/v1/", **arguments).engine_config)
        try:
            return await use(engine)
        finally:
            await engine.close()
    finally:
        await runner.cleanup()


def on_engine(endpoint: Endpoint, use: Callable[[OpenAIEngine], Awaitable[T]], **arguments: str | float) -> T:
    """The same on an event loop of its own, on which pauses are short."""

    async def run() -> T:
        return await on_server(endpoint, use, **arguments)

    return run_fast(run())


def ask(endpoint: Endpoint, *requests: Request, **arguments: str | float) -> list[Answer]:
    """The answers that stand, each request asked as often as the policy of retries says."""

    async def use(engine: OpenAIEngine) -> list[Answer]:
        return list(await asyncio.gather(*(settled(partial(engine.answer, request)) for request in requests)))

    return on_engine(endpoint, use, **arguments)


def address_of(runner: web.ServerRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"{host}:{port}"


def spec_for(base_url: str, **arguments: str | float) -> JobSpec:
    return make_spec(engine="openai", engine_args={"base_url": base_url, **arguments})


def chat(custom_id: str = "a") -> Request:
    return Request(custom_id, "/v1/chat/completions", {"model": "m", "messages": [], "n": custom_id})


def run_on(endpoint: Endpoint, job: JobStore) -> None:
    """Run a planned job on the endpoint."""

    async def use(engine: OpenAIEngine) -> None:
        await run_shards(job, runner_of(job, engine))

    on_engine(endpoint, use)
