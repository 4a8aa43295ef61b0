import time
import timeit

import orjson
import pytest
from specs import FILE, chat_line, job_spec, line_of

from batch.errors import UsageError
from batch.result import Code, RowFailure
from batch.rows.request import Decoder, Request
from batch.spec.parameters import InferenceParameters
from connectors.datasets.lines import Line

CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "1+1?"}]


def decode(content: object, number: int = 1, **spec: object) -> Request | RowFailure:
    return Decoder(job_spec(**spec)).decode(FILE, line_of(content, number))


def request_of(content: object, number: int = 1, **spec: object) -> Request:
    decoded = decode(content, number, **spec)
    assert isinstance(decoded, Request), decoded
    return decoded


def failure_of(content: object, number: int = 1, **spec: object) -> RowFailure:
    decoded = decode(content, number, **spec)
    assert isinstance(decoded, RowFailure), decoded
    return decoded


def test_an_openai_line_goes_to_the_engine_untouched() -> None:
    body = {
        "model": "tiny",
        "messages": MESSAGES,
        "stream": False,
        "top_k": 3,
        "structured_outputs": {"choice": ["a", "b"]},
        "chat_template_kwargs": {"thinking": False},
        "metadata": {"k": "v"},
        "unheard_of": 1,
    }

    request = request_of({"custom_id": "a", "method": "POST", "url": CHAT, "body": body})

    assert request == Request("a", CHAT, body)


@pytest.mark.parametrize(
    ("row", "endpoint"),
    [
        ({"messages": None, "prompt": "1+1="}, "/v1/completions"),
        ({"messages": None, "prompt": None, "input": "a"}, "/v1/embeddings"),
        ({"messages": MESSAGES, "prompt": None, "input": None}, CHAT),
    ],
)
def test_an_input_that_is_null_chooses_no_endpoint(row: dict[str, object], endpoint: str) -> None:
    """Rows of several kinds that went through a table have every kind's field."""
    given = {name: value for name, value in row.items() if value is not None}
    assert request_of(row) == Request("rows.jsonl:1", endpoint, {**given, "model": "tiny"})
    assert request_of({"custom_id": "a", "body": row}).endpoint == endpoint
    assert "messages: missing" in failure_of({"messages": None, "prompt": None}).message


@pytest.mark.parametrize(
    ("body", "endpoint"),
    [({"messages": MESSAGES}, CHAT), ({"prompt": "1+1="}, "/v1/completions"), ({"input": "a"}, "/v1/embeddings")],
)
def test_lines_without_url_and_bare_rows_are_told_by_their_input(body: dict[str, object], endpoint: str) -> None:
    fireworks = request_of({"custom_id": "a", "body": body})
    bare = request_of(body, number=3)

    assert fireworks == Request("a", endpoint, {**body, "model": "tiny"})
    assert bare == Request("rows.jsonl:3", endpoint, {**body, "model": "tiny"})


@pytest.mark.parametrize("url", ["/v1/score", "/score", "/v1/rerank", "/rerank", "/v2/rerank", "/v1/responses"])
def test_other_endpoints_pass(url: str) -> None:
    assert request_of({"custom_id": "a", "url": url, "body": {"query": "x"}}).endpoint == url


def test_the_rows_parameters_beat_the_jobs() -> None:
    parameters = InferenceParameters(max_tokens=9, temperature=0.5, extra_body={"min_p": 0.1})

    request = request_of(chat_line(temperature=1.0, max_completion_tokens=3), parameters=parameters)

    assert request.body == {
        "model": "tiny",
        "messages": MESSAGES,
        "temperature": 1.0,
        "max_completion_tokens": 3,
        "min_p": 0.1,
    }


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", Code.MALFORMED_JSON),
        (b'{"custom_id":"a"', Code.MALFORMED_JSON),
        (b'{"custom_id":"a","custom_id":"a","body":{}}', Code.MALFORMED_JSON),
        (b'{"custom_id":"a","body":{"prompt":"\xff"}}', Code.INVALID_UTF8),
        (b"[1]", Code.NOT_AN_OBJECT),
        (b"null", Code.NOT_AN_OBJECT),
    ],
)
def test_a_line_that_cannot_be_read_has_no_id_and_no_answer(raw: bytes, code: Code) -> None:
    failure = failure_of(raw)

    assert failure.code == code
    assert failure.excerpt == raw
    assert (failure.custom_id, failure.status_code, failure.body) == (None, None, None)


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        ("line_too_long", Code.LINE_TOO_LONG, "longer than 10485760 bytes"),
        ("expansion_limit", Code.LINE_TOO_LONG, "expands"),
        ("truncated", Code.MALFORMED_JSON, "ends in this line"),
    ],
)
def test_what_the_reader_found_is_a_failure(problem: str, code: Code, words: str) -> None:
    failure = Decoder(job_spec()).decode(FILE, Line(4, 99, b"{", problem))

    assert isinstance(failure, RowFailure)
    assert failure.code == code
    assert words in failure.message
    assert (failure.place.file, failure.place.line, failure.place.offset) == (FILE, 4, 99)


@pytest.mark.parametrize("custom_id", [None, "", 7, ["a"]])
def test_a_batch_line_needs_an_id_of_its_own(custom_id: object) -> None:
    failure = failure_of({"custom_id": custom_id, "body": {"messages": MESSAGES}})

    assert failure.code == Code.MISSING_CUSTOM_ID
    assert failure.message.startswith("custom_id")
    assert failure.custom_id is None


def test_a_repeated_id_is_a_failure_that_carries_it() -> None:
    failure = Decoder(job_spec()).decode(FILE, line_of(chat_line("a")), duplicate=True)

    assert isinstance(failure, RowFailure)
    assert (failure.code, failure.custom_id) == (Code.DUPLICATE_CUSTOM_ID, "a")


def server_answer(failure: RowFailure) -> dict[str, object]:
    assert failure.body is not None
    answer: dict[str, object] = orjson.loads(failure.body)["error"]
    assert answer["code"] == failure.status_code
    assert answer["message"] == failure.message
    assert answer["param"] == failure.field
    return answer


@pytest.mark.parametrize(
    ("line", "code", "field"),
    [
        (chat_line(stream=True), Code.INVALID_PARAMETER, "stream"),
        (chat_line(temperature=3.5), Code.INVALID_PARAMETER, "temperature"),
        (chat_line(chat_template="{{x}}"), Code.INVALID_PARAMETER, "chat_template"),
        (chat_line(model=7), Code.INVALID_PARAMETER, "model"),
        (chat_line(messages="hi"), Code.INVALID_PARAMETER, "messages"),
        ({"custom_id": "a", "body": "hi"}, Code.INVALID_PARAMETER, "body"),
        ({"custom_id": "a", "body": {}}, Code.INVALID_PARAMETER, "messages"),
        ({"custom_id": "a", "url": CHAT, "body": {}}, Code.INVALID_PARAMETER, "messages"),
        ({"question": "1+1?"}, Code.INVALID_PARAMETER, "messages"),
    ],
)
def test_what_a_server_would_refuse_is_refused_as_a_server_does(line: object, code: Code, field: str) -> None:
    failure = failure_of(line)

    assert (failure.code, failure.field, failure.status_code) == (code, field, 400)
    assert server_answer(failure)["type"] == "BadRequestError"


@pytest.mark.parametrize(
    ("line", "field", "status_code", "kind"),
    [
        ({"url": "/v1/images"}, "url", 404, "NotFoundError"),
        ({"url": ["/v1"]}, "url", 404, "NotFoundError"),
        ({"method": "GET"}, "method", 405, "Method Not Allowed"),
    ],
)
def test_what_no_server_has_a_route_for_gets_the_status_of_that(
    line: dict[str, object], field: str, status_code: int, kind: str
) -> None:
    failure = failure_of(chat_line() | line)

    assert (failure.code, failure.field, failure.status_code) == (Code.UNSUPPORTED_ENDPOINT, field, status_code)
    assert server_answer(failure)["type"] == kind


def test_a_row_for_another_model_is_told_what_to_do() -> None:
    failure = failure_of(chat_line(model="gpt-4o"), served_model_names=("small", "tiny-1"), lora={"sums": "/lora"})

    assert (failure.code, failure.status_code, failure.custom_id) == (Code.MODEL_MISMATCH, 404, "a")
    assert 'model="gpt-4o"' in failure.message
    assert "tiny, small, tiny-1, sums" in failure.message
    for place in ("/srv/models/tiny", "s3://bucket/tiny"):
        failure = failure_of(chat_line(model="gpt-4o"), model=place, served_model_names=("small",))
        assert "serves small;" in failure.message
        failure = failure_of(chat_line(model="gpt-4o"), model=place)
        assert f"serves {place};" in failure.message
    assert "--row-model ignore" in failure.message
    assert server_answer(failure)["type"] == "NotFoundError"


@pytest.mark.parametrize(
    ("given", "row_model", "sent"),
    [
        (None, "check", "small"),
        ("tiny", "check", "small"),  # the engine answers to its served names only
        ("small", "check", "small"),
        ("tiny-1", "check", "tiny-1"),
        ("sums", "check", "sums"),
        ("gpt-4o", "ignore", "small"),
        ("sums", "ignore", "sums"),
        (7, "ignore", "small"),
    ],
)
def test_the_engine_gets_a_name_it_answers_to(given: object, row_model: str, sent: str) -> None:
    line = chat_line() if given is None else chat_line(model=given)

    request = request_of(line, row_model=row_model, served_model_names=("small", "tiny-1"), lora={"sums": "/lora"})

    assert request.body["model"] == sent


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image_url", "image_url": "http://169.254.169.254/"},
        {"type": "video_url", "video_url": {"url": "file:///etc/passwd"}},
        {"type": "audio_url", "audio_url": {"url": " data:audio/wav;base64,AA"}},
        {"image_url": "https://example.org/a.png", "uuid": "1"},
    ],
)
def test_media_by_address_is_forbidden(part: dict[str, object]) -> None:
    failure = failure_of(chat_line(messages=[{"role": "user", "content": [part]}]))

    assert (failure.code, failure.status_code) == (Code.MEDIA_FORBIDDEN, 400)
    assert failure.message.startswith("messages[0].content[0].")


def test_media_by_address_is_found_behind_escapes() -> None:
    raw = orjson.dumps(chat_line(messages=[{"role": "user", "content": [{"image_url": "http://x"}]}]))

    assert failure_of(raw.replace(b"image_url", b"\\u0069mage\\u005Furl")).code == Code.MEDIA_FORBIDDEN


def test_embedded_media_and_words_about_addresses_pass() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
    tool = {"type": "function", "function": {"parameters": {"properties": {"image_url": {"type": "string"}}}}}
    text = {"type": "text", "text": 'What is "image_url": "http://x"?'}

    request_of(chat_line(messages=[{"role": "user", "content": [part, text]}], tools=[tool]))


def test_a_template_makes_chat_requests_of_any_rows() -> None:
    row = {"id": 17, "question": "1+1?", "body": "ignored", "level": "easy"}

    request = request_of(row, prompt_template="Q: {question}", id_field="id", carry=("level", "absent"))

    assert request == Request(
        "17", CHAT, {"messages": [{"role": "user", "content": "Q: 1+1?"}], "model": "tiny"}, {"level": "easy"}
    )


def test_a_row_that_lacks_a_field_of_the_template_names_it() -> None:
    failure = failure_of({"id": "a", "level": 1}, prompt_template="Q: {question}", id_field="id", carry=("level",))

    assert (failure.code, failure.field, failure.custom_id) == (Code.INVALID_PARAMETER, "question", "a")
    assert failure.metadata == {"level": 1}


def test_addresses_that_a_row_puts_into_a_template_are_forbidden() -> None:
    template = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "{picture}"}}]}]

    failure = failure_of({"picture": "http://x"}, messages_template=template)

    assert failure.code == Code.MEDIA_FORBIDDEN


@pytest.mark.parametrize("given", [None, "", 1.5, True])
def test_a_row_needs_the_id_field_that_was_named(given: object) -> None:
    failure = failure_of({"prompt": "x", "key": given}, id_field="key")

    assert failure.code == Code.MISSING_CUSTOM_ID
    assert failure.message.startswith("key")


def test_a_bare_rows_own_fields_do_not_reach_the_engine() -> None:
    request = request_of({"messages": MESSAGES, "key": "k1", "level": 2, "n": 2}, id_field="key", carry=("level",))

    assert request == Request("k1", CHAT, {"messages": MESSAGES, "n": 2, "model": "tiny"}, {"level": 2})
    assert request_of({"prompt": "x", "custom_id": "own"}) == Request(
        "own", "/v1/completions", {"prompt": "x", "model": "tiny"}
    )


def test_an_input_that_is_carried_or_the_id_still_reaches_the_engine() -> None:
    request = request_of({"prompt": "x", "n": 2}, id_field="prompt", carry=("prompt", "n"))

    assert request == Request("x", "/v1/completions", {"prompt": "x", "model": "tiny"}, {"prompt": "x", "n": 2})


def test_files_of_one_name_give_rows_different_ids() -> None:
    decoder = Decoder(job_spec(inputs=("s3://b/day=*/part.jsonl",)))
    line = line_of({"prompt": "x"}, number=4)

    ids = {decoder.decode(f"s3://b/day={day}/part.jsonl", line).custom_id for day in (1, 2)}

    assert ids == {"day=1/part.jsonl:4", "day=2/part.jsonl:4"}


def test_the_system_prompt_stands_first_unless_the_row_has_one() -> None:
    parameters = InferenceParameters(system_prompt="Be brief.")
    own = [{"role": "developer", "content": "Be long."}, *MESSAGES]

    assert request_of(chat_line(), parameters=parameters).body["messages"] == [
        {"role": "system", "content": "Be brief."},
        *MESSAGES,
    ]
    assert request_of(chat_line(messages=own), parameters=parameters).body["messages"] == own
    responses = {"custom_id": "a", "url": "/v1/responses", "body": {"input": "hi"}}
    assert request_of(responses, parameters=parameters).body["instructions"] == "Be brief."


def test_a_system_prompt_is_not_dropped_where_it_has_no_place() -> None:
    failure = failure_of({"prompt": "x"}, parameters=InferenceParameters(system_prompt="Be brief."))

    assert (failure.code, failure.field) == (Code.INVALID_PARAMETER, "system_prompt")


def test_logprobs_may_be_what_the_engine_was_told() -> None:
    request_of(chat_line(logprobs=True, top_logprobs=50), engine_args={"max_logprobs": 50})
    assert failure_of(chat_line(logprobs=True, top_logprobs=50)).field == "top_logprobs"


def test_a_fault_of_the_decoders_own_fails_its_row_only() -> None:
    decoder = Decoder(job_spec())
    line = Line(3, 30, memoryview(b"{}"))  # type: ignore[arg-type]  # which no reader gives: the decoder stumbles

    failure = decoder.decode(FILE, line) if decoder.custom_id(line) is None else None

    assert isinstance(failure, RowFailure)
    assert (failure.code, failure.status_code, failure.place.line) == (Code.INTERNAL, 500, 3)
    assert failure.message.startswith("AttributeError: ")


def test_the_duplicate_scan_gets_given_ids_only() -> None:
    decoder = Decoder(job_spec())

    assert decoder.custom_id(line_of(chat_line("a"))) == "a"
    assert decoder.custom_id(line_of(chat_line("a", stream=True))) == "a"
    assert decoder.custom_id(line_of({"prompt": "x"})) is None
    assert decoder.custom_id(line_of({"body": {"prompt": "x"}})) is None
    assert decoder.custom_id(line_of(b'{"custom_id":"a",')) is None


def test_a_template_that_is_none_is_told_before_any_row() -> None:
    with pytest.raises(UsageError):
        Decoder(job_spec(prompt_template="no field"))


def test_decoding_a_chat_line_is_cheap() -> None:
    messages = [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": "a" * 120}]
    decoder = Decoder(job_spec(parameters=InferenceParameters(temperature=0.0)))
    line = line_of(chat_line("request-1", model="tiny", messages=messages, max_tokens=32))

    timer = timeit.Timer(lambda: decoder.decode(FILE, line), timer=time.process_time)
    seconds = min(timer.repeat(number=1000, repeat=5)) / 1000

    # 7 to 10 us measured; the bound leaves room for a busy machine.
    assert seconds < 60e-6
