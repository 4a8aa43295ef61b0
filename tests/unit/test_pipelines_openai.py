"""The engine that asks an OpenAI-compatible endpoint, against a real HTTP server on loopback."""

import asyncio
import json
import socket

import orjson
import pytest
from aiohttp import web
from fast_loop import run_fast
from jobs import make_spec

from batch.errors import JobFailed
from batch.request import Request
from batch.result import Code, Usage
from batch.spec import JobSpec
from pipelines.engines.base import Answer
from pipelines.engines.openai import TRIES, OpenAIEngine

COMPLETION = {
    "choices": [],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}},
}


class Endpoint:
    """Answers call after call with what it was given; the last one again and again. Notes what it was asked."""

    def __init__(self, *answers: web.Response | Exception) -> None:
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
        answer = self._answers[min(len(self.asked), len(self._answers)) - 1]
        if isinstance(answer, Exception):
            assert request.transport is not None
            request.transport.close()
            raise answer
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def ask(endpoint: Endpoint, *requests: Request, **arguments: str | float) -> list[Answer]:
    """The answers of an engine that was started on the endpoint."""

    async def run() -> list[Answer]:
        server = web.Server(endpoint)
        runner = web.ServerRunner(server)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            engine = await OpenAIEngine.start(spec_for(f"http://{address_of(runner)}/v1/", **arguments))
            try:
                return list(await asyncio.gather(*(engine.answer(request) for request in requests)))
            finally:
                await engine.close()
        finally:
            await runner.cleanup()

    return run_fast(run())


def address_of(runner: web.ServerRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"{host}:{port}"


def spec_for(base_url: str, **arguments: str | float) -> JobSpec:
    return make_spec(engine="openai", engine_args={"base_url": base_url, **arguments})


def chat(custom_id: str = "a") -> Request:
    return Request(custom_id, "/v1/chat/completions", {"model": "m", "messages": [], "n": custom_id})


def test_an_answer_comes_as_it_is_with_its_usage() -> None:
    endpoint = Endpoint(web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    assert (answer.status_code, answer.code, orjson.loads(answer.body)) == (200, None, COMPLETION)
    assert answer.usage == Usage(7, 3, 4)
    assert endpoint.asked == [("/v1/chat/completions", chat().body)]


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/v1/embeddings", "/v1/embeddings"), ("/score", "/v1/score"), ("/v2/rerank", "/v2/rerank")],
)
def test_each_endpoint_is_asked_under_its_own_path(path: str, asked: str) -> None:
    endpoint = Endpoint(web.json_response({}))

    ask(endpoint, Request("a", path, {}))

    assert endpoint.asked == [(asked, {})]


def test_the_key_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "s3cret")
    monkeypatch.setenv("OPENAI_API_KEY", "not this one")
    endpoint = Endpoint(web.json_response({}))

    ask(endpoint, chat(), api_key_env="OTHER_KEY")

    assert endpoint.keys == {"Bearer s3cret"}


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    endpoint = Endpoint(web.json_response({}))

    ask(endpoint, chat())

    assert endpoint.keys == {None}


def test_no_more_than_the_asked_for_requests_are_in_flight() -> None:
    endpoint = Endpoint(web.json_response({}))
    endpoint.delay_s = 1.0

    ask(endpoint, *(chat(str(number)) for number in range(12)), concurrency=3)

    assert len(endpoint.asked) == 12
    assert endpoint.most_in_flight == 3


@pytest.mark.parametrize(
    ("status_code", "message", "code"),
    [
        (400, "This model's maximum context length is 2048 tokens.", Code.PROMPT_TOO_LONG),
        (400, "temperature must be non-negative", Code.INVALID_PARAMETER),
        (404, "The model `x` does not exist.", Code.MODEL_MISMATCH),
        (422, "no", Code.INVALID_PARAMETER),
    ],
)
def test_a_refusal_is_an_answer_and_is_not_asked_again(status_code: int, message: str, code: Code) -> None:
    body = {"error": {"message": message, "type": "t", "param": None, "code": status_code}}
    endpoint = Endpoint(web.json_response(body, status=status_code))

    (answer,) = ask(endpoint, chat())

    assert (answer.status_code, answer.code, orjson.loads(answer.body)) == (status_code, code, body)
    assert len(endpoint.asked) == 1


@pytest.mark.parametrize("status_code", [408, 429, 500, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again(status_code: int) -> None:
    endpoint = Endpoint(web.Response(status=status_code, text="busy"), web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    assert answer.status_code == 200
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("retry_after", "at_least_s"), [("5", 5.0), ("0", 0.5), ("Wed, 21 Oct 2026 07:28:00 GMT", 0.5)]
)
def test_it_waits_as_long_as_it_is_told_to(retry_after: str, at_least_s: float) -> None:
    endpoint = Endpoint(web.Response(status=429, headers={"Retry-After": retry_after}), web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    first_s, second_s = endpoint.asked_at_s
    assert answer.status_code == 200
    assert second_s - first_s >= at_least_s


def test_a_lasting_overload_is_a_failure_with_the_last_answer() -> None:
    endpoint = Endpoint(web.json_response({"error": {"message": "slow down"}}, status=429))

    (answer,) = ask(endpoint, chat())

    assert (answer.status_code, answer.code) == (429, Code.INTERNAL)
    assert len(endpoint.asked) == TRIES


def test_a_dropped_connection_is_asked_again() -> None:
    endpoint = Endpoint(ConnectionResetError("on demand"), web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    assert answer.status_code == 200


def test_an_answer_that_does_not_come_in_time_is_a_timeout() -> None:
    endpoint = Endpoint(web.json_response(COMPLETION))
    endpoint.delay_s = 60.0

    (answer,) = ask(endpoint, chat(), timeout_s=10)

    assert (answer.status_code, answer.code) == (504, Code.TIMEOUT)
    assert "TimeoutError" in orjson.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize("body", [b"<html>no</html>", b"", b'{"choices": [', b"\xff", b'{"a": NaN}'])
def test_a_body_that_is_not_json_fails_its_row(body: bytes) -> None:
    (answer,) = ask(Endpoint(web.Response(body=body)), chat())

    assert (answer.status_code, answer.code) == (502, Code.INTERNAL)
    assert "status 200, not JSON" in orjson.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"usage": "many"},
        {"usage": {"prompt_tokens": "7"}},
        {"usage": {"prompt_tokens_details": []}},
        {"usage": None},
    ],
)
def test_an_answer_with_odd_usage_counts_no_tokens(body: object) -> None:
    (answer,) = ask(Endpoint(web.json_response(body)), chat())

    assert (answer.status_code, answer.usage) == (200, Usage())


@pytest.mark.parametrize("body", [[], "no", {"error": "no"}, {"detail": "Not Found"}])
@pytest.mark.parametrize(("status_code", "code"), [(404, Code.UNSUPPORTED_ENDPOINT), (400, Code.INTERNAL)])
def test_a_refusal_that_is_no_model_servers_is_told_as_it_is(body: object, status_code: int, code: Code) -> None:
    (answer,) = ask(Endpoint(web.json_response(body, status=status_code)), chat())

    assert (answer.status_code, answer.code) == (status_code, code)
    assert json.dumps(body) in orjson.loads(answer.body)["error"]["message"]


def test_an_endpoint_that_is_not_there_fails_the_job_in_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

        with pytest.raises(JobFailed) as raised:
            run_fast(OpenAIEngine.start(spec_for(url)))

    assert str(raised.value).startswith(f"{url}/models cannot be reached (")
    assert "is the server up?" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_endpoint_that_refuses_the_key_fails_the_job() -> None:
    endpoint = Endpoint()
    endpoint.models = web.Response(status=401, text="who are you?")

    with pytest.raises(JobFailed, match=r"/v1/models answers 401: b'who are you\?'; check the URL and the API key"):
        ask(endpoint, chat())
