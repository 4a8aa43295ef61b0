"""Which request a line is: told apart line by line, with a template and without, and by its url."""

from typing import Any

import pytest
from specs import FILE, chat_line, job_spec, line_of

from batch.result import Code
from batch.rows.request import CHAT, Decoder, Request

MESSAGES = [{"role": "user", "content": "1+1?"}]


def decoded(content: object, **spec: object) -> Any:
    """A Request or a RowFailure."""
    return Decoder(job_spec(**spec)).decode(FILE, line_of(content))


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        (chat_line("a", n=2), Request("a", CHAT, {"messages": MESSAGES, "n": 2, "model": "tiny"})),
        ({"custom_id": "a", "body": {"input": "x"}}, Request("a", "/v1/embeddings", {"input": "x", "model": "tiny"})),
        ({"id": "a", "messages": MESSAGES}, Request("a", CHAT, {"messages": MESSAGES, "model": "tiny"})),
        ({"id": "a", "prompt": "x"}, Request("a", "/v1/completions", {"prompt": "x", "model": "tiny"})),
        (
            {"id": "a", "prompt": "x", "question": None},
            Request("a", "/v1/completions", {"prompt": "x", "model": "tiny"}),
        ),
        (
            {"id": "a", "question": "1+1?", "prompt": "of another column", "body": {}},
            Request("a", CHAT, {"messages": [{"role": "user", "content": "1+1?"}], "model": "tiny"}),
        ),
    ],
)
def test_with_a_template_rows_that_are_requests_stay_requests(line: dict[str, object], asked: Request) -> None:
    request = decoded(line, prompt_template="{question}", id_field="id")

    assert (request.custom_id, request.endpoint) == (asked.custom_id, asked.endpoint)
    assert request.body.items() >= asked.body.items()


def test_with_a_template_a_batch_line_has_its_own_id_and_a_row_its_field() -> None:
    decoder = Decoder(job_spec(prompt_template="{question}", id_field="id"))

    assert decoder.custom_id(line_of(chat_line("a"))) == "a"
    assert decoder.custom_id(line_of({"id": "b", "custom_id": "a", "question": "x"})) == "b"
    assert decoder.custom_id(line_of({"id": "c", "question": "x", "body": {}})) == "c"


@pytest.mark.parametrize("row", [{"body": "a text"}, {"body": None}, {"prompt": None}, {"answer": 1}, {}])
def test_with_a_template_what_is_no_request_lacks_its_field(row: dict[str, object]) -> None:
    failure = decoded(row, prompt_template="{question}")

    assert (failure.code, failure.field) == (Code.INVALID_PARAMETER, "question")


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("/chat/completions", CHAT),
        ("/v1/chat/completions/", CHAT),
        ("/embeddings", "/v1/embeddings"),
        ("/responses/", "/v1/responses"),
        ("/score", "/score"),
        ("/v1/rerank/", "/v1/rerank"),
    ],
)
def test_urls_without_version_and_with_a_slash_are_known(url: str, endpoint: str) -> None:
    assert decoded(chat_line() | {"url": url}).endpoint == endpoint


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("/v1/chat/completion", "did you mean /v1/chat/completions?"),
        ("https://api.openai.com/v1/chat/completions", "did you mean /v1/chat/completions?"),
        ("/v1/embedding", "did you mean /v1/embeddings?"),
        ("/v1/images", 'url="/v1/images": '),
        ("", 'url="": expected one of'),
        (7, "url=7: expected one of"),
    ],
)
def test_an_unknown_url_is_told_with_the_one_that_is_closest(url: object, words: str) -> None:
    failure = decoded(chat_line() | {"url": url})

    assert failure.code == Code.UNSUPPORTED_ENDPOINT
    assert words in failure.message
    assert "/v2/rerank" in failure.message
