"""What the replies of an OpenAI-compatible endpoint mean, sent by a real HTTP server on loopback."""

import json
from datetime import UTC, datetime

import orjson
import pytest
from aiohttp import web
from endpoint import COMPLETION, Endpoint, ask, chat, run_on
from engines import chat as chat_line
from engines import output, planned_job
from hypothesis import given
from hypothesis import strategies as st

from batch.result import Code, Usage
from batch.rows.request import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, Request
from connectors.stores.registry import open_store
from pipelines.engines.openai.answers import retry_after_s

MODELS = {"object": "list", "data": [{"id": "m", "object": "model"}]}


@pytest.mark.parametrize(
    ("status_code", "message", "code"),
    [
        (400, "This model's maximum context length is 2048 tokens.", Code.PROMPT_TOO_LONG),
        (400, "temperature must be non-negative", Code.INVALID_PARAMETER),
        (404, "The model `m` does not exist.", Code.MODEL_MISMATCH),
        (404, "Response with id 'resp_m' not found.", Code.INVALID_PARAMETER),
        (404, "Not Found", Code.UNSUPPORTED_ENDPOINT),
        (401, "Incorrect API key provided", Code.INTERNAL),
        (422, "no", Code.INVALID_PARAMETER),
    ],
)
def test_a_refusal_is_an_answer_and_is_not_asked_again(status_code: int, message: str, code: Code) -> None:
    body = {"error": {"message": message, "type": "t", "param": None, "code": status_code}}
    endpoint = Endpoint(web.json_response(body, status=status_code))

    (answer,) = ask(endpoint, chat())

    assert (answer.status_code, answer.code, orjson.loads(answer.body)) == (status_code, code, body)
    assert len(endpoint.asked) == 1


def test_a_date_to_wait_for_is_counted_from_now() -> None:
    now = datetime(2026, 10, 21, 7, 28, tzinfo=UTC)

    assert retry_after_s("Wed, 21 Oct 2026 07:28:30 GMT", now) == 30.0
    assert retry_after_s("Wed, 21 Oct 2026 07:28:30 -0000", now) == 30.0


@given(st.one_of(st.text(), st.floats().map(str), st.text("0123456789:+-. ,WedOctGMT")))
def test_no_header_is_too_odd_to_be_read(header: str) -> None:
    assert retry_after_s(header, datetime(2026, 10, 21, tzinfo=UTC)) >= 0.0


def test_a_server_that_prints_prettily_gives_one_line_a_result() -> None:
    pretty = json.dumps(COMPLETION | {"logprob": -1.50e-3}, indent=4).replace("-0.0015", "-1.50e-3")
    endpoint = Endpoint(web.Response(body="\ufeff" + pretty.replace("\n", "\r\n") + "\n"))
    job = planned_job([chat_line(f"r{number}") for number in range(20)])

    run_on(endpoint, job)

    (part,) = job.parts("results")
    content = open_store(job.uri).get(part.key)
    assert content.count(b"\n") == part.rows == 20
    assert content.count(b'"logprob":-1.50e-3') == 20  # the server's own digits
    assert [line["response"]["body"]["choices"] for line in output(job)] == [COMPLETION["choices"]] * 20


@pytest.mark.parametrize(
    "body",
    [
        *(b"<html>no</html>", b"", b'{"choices": [', b"\xff", b'{"a": NaN}', b"[]", b"null", b'{"choices": []}'),
        *(b'{"choices": [{"text": "of completions"}]}', b'{"choices": [null]}', b"data: {}\n\ndata: [DONE]\n\n"),
        orjson.dumps(MODELS),
    ],
)
def test_a_body_that_is_no_answer_of_its_endpoint_fails_its_row(body: bytes) -> None:
    (answer,) = ask(Endpoint(web.Response(body=body)), chat())

    assert (answer.status_code, answer.code) == (500, Code.INTERNAL)
    assert "answers 200 with no answer of /v1/chat/completions" in orjson.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize(
    "endpoint", [COMPLETIONS, EMBEDDINGS, RESPONSES, "/v1/score", "/score", "/v1/rerank", "/rerank", "/v2/rerank"]
)
def test_a_list_of_models_answers_no_row(endpoint: str) -> None:
    (answer,) = ask(Endpoint(web.json_response(MODELS)), Request("a", endpoint, {}))

    assert answer.code == Code.INTERNAL


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        (CHAT, {"choices": [{"message": {"content": None, "tool_calls": []}}], "error": None}),
        (COMPLETIONS, {"choices": [{"text": ""}]}),
        (EMBEDDINGS, {"data": [{"embedding": "AACAPw=="}]}),
        (RESPONSES, {"output": [], "error": None}),
        ("/v1/score", {"data": [{"index": 0, "score": 0.5}]}),
        ("/v1/score", {"scores": [[0.1, 0.9]]}),
        ("/v1/rerank", {"results": [{"index": 0, "relevance_score": 0.5}]}),
        ("/v1/rerank", [{"index": 0, "score": 0.5}]),
    ],
)
@pytest.mark.parametrize(("status_code", "content_type"), [(200, "application/json"), (201, "text/plain"), (203, "x")])
def test_an_answer_is_one_by_what_it_holds(endpoint: str, body: object, status_code: int, content_type: str) -> None:
    reply = web.Response(status=status_code, body=orjson.dumps(body), headers={"Content-Type": content_type})

    (answer,) = ask(Endpoint(reply), Request("a", endpoint, {}))

    assert (answer.status_code, answer.code, orjson.loads(answer.body)) == (200, None, body)


@pytest.mark.parametrize(
    ("error", "status_code", "code", "message"),
    [
        ({"message": "provider is down", "code": 502}, 502, Code.INTERNAL, "provider is down"),
        ({"message": "too long a context length", "code": 400}, 400, Code.PROMPT_TOO_LONG, "too long a context length"),
        ({"message": "broken", "code": "server_error"}, 500, Code.INTERNAL, "broken"),
        ("broken", 500, Code.INTERNAL, "answers 500: broken"),
    ],
)
def test_an_error_in_a_success_is_a_failure(error: object, status_code: int, code: Code, message: str) -> None:
    (answer,) = ask(Endpoint(web.json_response({"error": error, **COMPLETION})), chat())

    assert (answer.status_code, answer.code) == (status_code, code)
    assert message in orjson.loads(answer.body)["error"]["message"]


@pytest.mark.parametrize(
    "odd",
    [
        *({"usage": "many"}, {"usage": {"prompt_tokens": "7"}}, {"usage": {"prompt_tokens_details": []}}),
        *({"usage": None}, {"usage": {"prompt_tokens": 2**63, "completion_tokens": -1}}),
    ],
)
@pytest.mark.parametrize("output_format", ["jsonl", "parquet"])
def test_an_answer_with_odd_members_is_written_as_it_is(odd: dict[str, object], output_format: str) -> None:
    body = {"choices": [{"message": {"content": ["parts"]}, "finish_reason": 7}], **odd}
    job = planned_job([chat_line("a")], output_format=output_format)

    run_on(Endpoint(web.json_response(body)), job)

    assert [line["response"]["body"] for line in output(job)] == [body]
    assert job.commit_of(0).usage == Usage()  # type: ignore[union-attr]  # it has one


@pytest.mark.parametrize(
    ("body", "status_code", "code", "words"),
    [
        ([], 404, Code.UNSUPPORTED_ENDPOINT, "answers 404: '[]'"),
        ({"detail": "Not Found"}, 404, Code.UNSUPPORTED_ENDPOINT, "answers 404: Not Found"),
        ({"detail": "Method Not Allowed"}, 405, Code.UNSUPPORTED_ENDPOINT, "answers 405"),
        ({"error": "model 'm' not found, try pulling it first"}, 404, Code.MODEL_MISMATCH, "try pulling"),
        ({"error": "the file of m1 is gone"}, 404, Code.INVALID_PARAMETER, "is gone"),
        ([], 400, Code.INTERNAL, "answers 400: '[]'"),
        ("no", 400, Code.INTERNAL, """answers 400: '"no"'"""),
        ({"error": "temperature is too hot"}, 400, Code.INVALID_PARAMETER, "too hot"),
        ({"object": "error", "message": "temperature is too hot"}, 400, Code.INVALID_PARAMETER, "too hot"),
        ({"detail": [{"loc": ["body", "n"], "msg": "no"}]}, 422, Code.INVALID_PARAMETER, '["body","n"]'),
        ("too large", 413, Code.INVALID_PARAMETER, "too large"),
    ],
)
def test_a_refusal_in_other_words_is_understood(body: object, status_code: int, code: Code, words: str) -> None:
    reply = web.Response(status=status_code, body=orjson.dumps(body))

    (answer,) = ask(Endpoint(reply), chat())

    assert (answer.status_code, answer.code) == (status_code, code)
    assert words in orjson.loads(answer.body)["error"]["message"]
