"""The engine that asks an OpenAI-compatible endpoint: what it sends, and how often, to a real HTTP server."""

import socket
from collections import Counter

import orjson
import pytest
from aiohttp import web
from endpoint import COMPLETION, CUT, Endpoint, ask, chat, on_engine, on_server, run_on, spec_for
from engines import chat as chat_line
from engines import output, planned_job
from fast_loop import run_fast

from batch.errors import JobFailed
from batch.result import Code, Usage
from batch.rows.request import CHAT, Request
from pipelines.engines.base import Answer
from pipelines.engines.openai.engine import OpenAIEngine
from pipelines.engines.retries import BUSY_TRIES, FAILED_TRIES


def test_an_answer_comes_as_it_is_with_its_usage() -> None:
    endpoint = Endpoint(web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    assert (answer.status_code, answer.code, orjson.loads(answer.body)) == (200, None, COMPLETION)
    assert answer.usage == Usage(7, 3, 4)
    assert endpoint.asked == [("/v1/chat/completions", chat().body)]


def test_a_body_is_sent_as_it_is_whatever_the_size_of_its_numbers() -> None:
    body = chat().body | {"top_k": 2**70, "stop_token_ids": [-(2**70)], "logit_bias": {"": 1e308}}
    endpoint = Endpoint(web.json_response(COMPLETION))

    (answer,) = ask(endpoint, Request("a", CHAT, body))

    assert answer.status_code == 200
    assert endpoint.asked == [(CHAT, body)]


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/v1/embeddings", "/v1/embeddings"), ("/score", "/v1/score"), ("/v2/rerank", "/v2/rerank")],
)
def test_each_endpoint_is_asked_under_its_own_path(path: str, asked: str) -> None:
    endpoint = Endpoint(web.json_response({"data": [{"embedding": [1.0], "score": 1.0}]}))

    ask(endpoint, Request("a", path, {}))

    assert endpoint.asked == [(asked, {})]


def test_the_key_comes_from_the_named_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "s3cret")
    monkeypatch.setenv("OPENAI_API_KEY", "not this one")
    endpoint = Endpoint(web.json_response(COMPLETION))

    ask(endpoint, chat(), api_key_env="OTHER_KEY")

    assert endpoint.keys == {"Bearer s3cret"}


def test_without_a_key_none_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    endpoint = Endpoint(web.json_response(COMPLETION))

    ask(endpoint, chat())

    assert endpoint.keys == {None}


def test_no_more_than_the_asked_for_requests_are_in_flight() -> None:
    endpoint = Endpoint(web.json_response(COMPLETION))
    endpoint.delay_s = 1.0

    ask(endpoint, *(chat(str(number)) for number in range(12)), concurrency=3)

    assert len(endpoint.asked) == 12
    assert endpoint.most_in_flight == 3


@pytest.mark.parametrize("status_code", [408, 429, 500, 502, 503, 504])
def test_a_busy_endpoint_is_asked_again(status_code: int) -> None:
    endpoint = Endpoint(web.Response(status=status_code, text="busy"), web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    assert answer.status_code == 200
    assert len(endpoint.asked) == 2


@pytest.mark.parametrize(
    ("retry_after", "at_least_s"),
    [
        ("5", 5.0),
        ("60", 60.0),
        ("0", 0.5),
        ("-5", 0.5),
        ("nan", 0.5),
        ("soon", 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.5),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 120.0),
        ("inf", 120.0),
    ],
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
    assert len(endpoint.asked) == BUSY_TRIES


@pytest.mark.parametrize(
    ("answer", "times"),
    [
        (web.json_response({"error": {"message": "no such grammar"}}, status=500), FAILED_TRIES),
        (web.Response(status=500, text="Internal Server Error"), FAILED_TRIES),
        (web.Response(status=429), BUSY_TRIES),
        (web.Response(status=502, text="<html>Bad Gateway</html>"), BUSY_TRIES),
        (web.json_response({"error": {"message": "loading"}}, status=503), BUSY_TRIES),
        (web.Response(status=504), BUSY_TRIES),
        (CUT, BUSY_TRIES),
        (ConnectionResetError("on demand"), BUSY_TRIES),
        (web.Response(text='{"choices": ['), FAILED_TRIES),
        (web.Response(status=307, headers={"Location": "/elsewhere"}), 1),
        (web.json_response({"error": {"message": "no"}}, status=400), 1),
    ],
)
def test_a_row_is_sent_as_often_as_the_policy_says(answer: web.Response | Exception, times: int) -> None:
    endpoint = Endpoint(answer, good=web.json_response(COMPLETION))
    job = planned_job([chat_line("bad", "bad"), *(chat_line(f"r{number}", "good") for number in range(3))])

    run_on(endpoint, job)

    asked = Counter(body["messages"][0]["content"] for _, body in endpoint.asked if isinstance(body, dict))
    assert asked == {"bad": times, "good": 3}
    assert [line["custom_id"] for line in output(job)] == ["r0", "r1", "r2"]
    assert [line["custom_id"] for line in output(job, "errors")] == ["bad"]


def test_a_restart_and_a_failure_after_it_are_counted_apart() -> None:
    endpoint = Endpoint(*[web.Response(status=503)] * 5, web.Response(status=500), web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    assert (answer.status_code, len(endpoint.asked)) == (200, 7)


def test_a_body_that_was_cut_is_asked_again() -> None:
    endpoint = Endpoint(CUT, web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    assert (answer.code, orjson.loads(answer.body)) == (None, COMPLETION)


def test_a_dropped_connection_is_asked_again() -> None:
    endpoint = Endpoint(ConnectionResetError("on demand"), web.json_response(COMPLETION))

    (answer,) = ask(endpoint, chat())

    assert answer.status_code == 200


def test_an_answer_that_does_not_come_in_time_is_a_timeout() -> None:
    endpoint = Endpoint(web.json_response(COMPLETION))
    endpoint.delay_s = 60.0

    (answer,) = ask(endpoint, chat(), timeout_s=10)

    assert (answer.status_code, answer.code) == (504, Code.TIMEOUT)
    assert "no answer within 10 s" in orjson.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize("status_code", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(status_code: int) -> None:
    other = Endpoint(web.json_response(COMPLETION))

    async def use(elsewhere: OpenAIEngine) -> Answer:
        address = f"{elsewhere.config['base_url']}/chat/completions"
        redirect = web.Response(status=status_code, headers={"Location": address})
        return await on_server(Endpoint(redirect), lambda engine: engine.answer(chat()))

    answer = on_engine(other, use)

    assert other.asked == []
    assert (answer.status_code, answer.code) == (status_code, Code.INTERNAL)
    assert "/chat/completions redirects to http://127.0.0.1" in orjson.loads(answer.body)["error"]["message"]


def test_an_endpoint_that_is_not_there_fails_the_job_in_one_sentence() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: a connection is refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"

        with pytest.raises(JobFailed) as raised:
            run_fast(OpenAIEngine.start(spec_for(url).engine_config))

    assert str(raised.value).startswith(f"{url}/models cannot be reached (")
    assert "is the server up" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_an_endpoint_that_refuses_the_key_fails_the_job() -> None:
    endpoint = Endpoint()
    endpoint.models = web.Response(status=401, text="who are you?")

    with pytest.raises(
        JobFailed, match=r"/v1/models answers 401: 'who are you\?': is the server up, .* and the API key right\?"
    ):
        ask(endpoint, chat())


def test_a_base_url_that_redirects_fails_the_job() -> None:
    endpoint = Endpoint()
    endpoint.models = web.Response(status=308, headers={"Location": "https://example.org/v1/models"})

    with pytest.raises(JobFailed, match=r"/v1/models redirects to https://example.org/v1/models \(308\)"):
        ask(endpoint, chat())
