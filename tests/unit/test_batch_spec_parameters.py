import pytest

from batch.errors import UsageError
from batch.spec.parameters import BodyCheck, InferenceParameters, Problem, check_body, merge, shown

CHAT = "/v1/chat/completions"
MESSAGES: list[dict[str, str]] = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("field", "value", "bound"),
    [
        ("temperature", 3.5, "0.0 to 2.0"),
        ("temperature", "2.5", "0.0 to 2.0"),
        ("temperature", "nan", "0.0 to 2.0"),
        ("temperature", "hot", "0.0 to 2.0"),
        ("temperature", [0.5], "0.0 to 2.0"),
        ("temperature", 10**400, "0.0 to 2.0"),
        ("top_p", 0, "more than 0, at most 1.0"),
        ("top_p", 1.01, "more than 0, at most 1.0"),
        ("top_k", -2, "an integer of at least -1"),
        ("top_k", 1.5, "an integer of at least -1"),
        ("n", 0, "an integer, 1 to 128"),
        ("n", 129, "an integer, 1 to 128"),
        ("max_tokens", 0, "an integer of at least 1"),
        ("max_completion_tokens", "10.5", "an integer of at least 1"),
        ("max_completion_tokens", False, "an integer of at least 1"),
        ("presence_penalty", -2.1, "-2.0 to 2.0"),
        ("frequency_penalty", 2.1, "-2.0 to 2.0"),
        ("logprobs", 3, "true or false"),
        ("top_logprobs", 21, "an integer, 0 to 20"),
        ("top_logprobs", "5", "an integer, 0 to 20"),
        ("stop", ["a"] * 17, "a string or at most 16 strings"),
        ("stop", [1], "a string or at most 16 strings"),
        ("stream", True, "false or absent"),
        ("stream", "true", "false or absent"),
        ("stream", 1, "false or absent"),
        ("model", 7, "the name of a model"),
        ("messages", "hi", "a list of objects"),
        ("messages", ["hi"], "a list of objects"),
        ("tools", {}, "a list of objects"),
        ("chat_template", "{{ x }}", "nothing here"),
    ],
)
def test_a_bad_value_is_told_with_field_value_and_bound(field: str, value: object, bound: str) -> None:
    problem = check_body({"messages": MESSAGES, field: value}, CHAT)

    assert isinstance(problem, Problem)
    assert problem.field == field
    assert problem.message.startswith(f"{field}={shown(value)}: expected {bound}")


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 0, "top_p": 1, "top_k": -1, "n": 128, "max_tokens": 1},
        {"temperature": 2.0, "top_k": 0, "max_tokens": 16.0, "stop": ["a"] * 16, "stream": False},
        {"temperature": None, "stream": None, "stop": None, "max_tokens": None, "tools": None},
        {"logprobs": True, "top_logprobs": 20, "presence_penalty": -2},
        {"min_p": 7, "repetition_penalty": "x", "structured_outputs": {}, "chat_template_kwargs": {}, "what": 1},
    ],
)
def test_what_is_in_bounds_or_not_bounded_here_passes(parameters: dict[str, object]) -> None:
    body = {"messages": MESSAGES, **parameters}

    assert check_body(body, CHAT) == body
    assert list(check_body(body, CHAT)) == list(body)  # type: ignore[arg-type]  # no Problem


@pytest.mark.parametrize(
    ("endpoint", "field", "value", "typed"),
    [
        (CHAT, "max_tokens", "8", 8),
        (CHAT, "max_tokens", " 8.0 ", 8),
        (CHAT, "max_completion_tokens", 16.0, 16),
        (CHAT, "n", True, 1),
        (CHAT, "seed", "-3", -3),
        (CHAT, "top_k", "5", 5),
        (CHAT, "temperature", "0", 0.0),
        (CHAT, "temperature", False, 0.0),
        (CHAT, "top_p", "5e-1", 0.5),
        (CHAT, "presence_penalty", "-1", -1.0),
        (CHAT, "logprobs", "true", True),
        (CHAT, "logprobs", 0, False),
        (CHAT, "top_logprobs", True, 1),
        (CHAT, "stream", "false", False),
        ("/v1/completions", "logprobs", True, 1),
        ("/v1/completions", "max_tokens", "0", 0),
        ("/v1/responses", "max_output_tokens", "8", 8),
        ("/v1/responses", "top_logprobs", "5", 5),
    ],
)
def test_a_value_is_what_the_server_takes_it_for(endpoint: str, field: str, value: object, typed: object) -> None:
    given = {"messages": MESSAGES, "prompt": "x", field: value}

    read = check_body(given, endpoint)

    assert isinstance(read, dict)
    assert (read[field], type(read[field])) == (typed, type(typed))
    assert given[field] is value


@pytest.mark.parametrize(
    ("endpoint", "body", "field"),
    [
        (CHAT, {}, "messages"),
        (CHAT, {"messages": None}, "messages"),
        (CHAT, {"prompt": "x"}, "messages"),
        ("/v1/completions", {}, "prompt"),
        ("/v1/embeddings", {}, "input"),
    ],
)
def test_what_an_endpoint_needs_is_told(endpoint: str, body: dict[str, object], field: str) -> None:
    problem = check_body(body, endpoint)

    assert isinstance(problem, Problem)
    assert (problem.field, problem.message) == (field, f"{field}: missing, {endpoint} needs it")


def test_bounds_are_those_of_the_endpoint() -> None:
    def passes(endpoint: str, **body: object) -> bool:
        return not isinstance(check_body(body, endpoint), Problem)

    assert passes("/v1/completions", prompt="x", logprobs=5, echo=True, max_tokens=0)
    assert not passes("/v1/completions", prompt="x", logprobs=21)
    assert passes("/v1/embeddings", input="x", dimensions=8)
    assert passes("/v1/rerank", query="x", documents=["y"])
    assert not passes("/v1/rerank", query="x", stream=True)


@pytest.mark.parametrize(("max_logprobs", "asked", "allowed"), [(50, 50, True), (50, 51, False), (-1, 9999, True)])
def test_logprobs_are_bounded_as_the_engine_is(max_logprobs: int, asked: int, allowed: bool) -> None:
    check = BodyCheck(max_logprobs=max_logprobs)

    assert isinstance(check({"messages": MESSAGES, "top_logprobs": asked}, CHAT), Problem) != allowed
    assert isinstance(check({"prompt": "x", "logprobs": asked}, "/v1/completions"), Problem) != allowed


def test_the_row_beats_the_job_beats_the_default() -> None:
    merged = merge({"a": 1, "b": 1, "c": 1}, {"b": 2, "c": 2}, {"c": 3})

    assert merged == {"a": 1, "b": 2, "c": 3}


def test_null_in_a_row_stands() -> None:
    assert merge({}, {"temperature": 0.5}, {"temperature": None}) == {"temperature": None}


def test_two_names_of_one_limit_do_not_meet() -> None:
    assert merge({}, {"max_tokens": 10}, {"max_completion_tokens": 5}) == {"max_completion_tokens": 5}
    assert merge({}, {"max_completion_tokens": 10}, {"max_tokens": 5}) == {"max_tokens": 5}
    assert merge({"max_tokens": 9}, {"max_completion_tokens": 10}, {"n": 1}) == {"max_completion_tokens": 10, "n": 1}


def test_merging_changes_nothing_in_place() -> None:
    defaults, job, row = {"max_tokens": 1}, {"n": 2}, {"max_completion_tokens": 3}

    merge(defaults, job, row)

    assert (defaults, job, row) == ({"max_tokens": 1}, {"n": 2}, {"max_completion_tokens": 3})


def test_parameters_read_both_spellings_and_extra_body_as_text() -> None:
    snake = InferenceParameters.from_dict({"max_tokens": 5, "top_p": 1, "extra_body": {"min_p": 0.1}})
    camel = InferenceParameters.from_dict({"maxTokens": 5, "topP": 1, "extraBody": '{"min_p": 0.1}'})

    assert snake == camel
    assert type(snake.top_p) is float
    assert InferenceParameters.from_dict(snake.to_dict()) == snake
    assert InferenceParameters.from_dict({"maxTokens": "5", "temperature": False, "topK": 3.0}) == InferenceParameters(
        max_tokens=5, temperature=0.0, top_k=3
    )
    assert InferenceParameters.from_dict({"systemPrompt": "Be brief."}).system_prompt == "Be brief."
    assert InferenceParameters.from_dict({"extraBody": ""}) == InferenceParameters()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_token": 5}, "'max_token' is unknown: expected max_tokens, temperature"),
        ({"temperature": 3}, "temperature=3: expected 0.0 to 2.0"),
        ({"temperature": float("nan")}, "temperature=null: expected 0.0 to 2.0"),
        ({"n": "two"}, 'n="two": expected an integer'),
        ({"extra_body": {"seed": "x"}}, 'seed="x": expected an integer'),
        ({"extra_body": "{"}, "extra_body is not JSON"),
        ({"extra_body": []}, "expected a JSON object"),
        ({"extra_body": {"model": "x"}}, "'model', which is each row's own"),
        ({"extra_body": {"stream": True}}, "stream=true"),
        ({"extra_body": {"chat_template": "x"}}, "chat_template"),
        ({"extra_body": {"presence_penalty": 9}}, "presence_penalty=9"),
        ({"system_prompt": 7}, "system_prompt=7: expected a string"),
    ],
)
def test_a_wrong_parameter_of_a_job_is_told(given: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError) as raised:
        InferenceParameters.from_dict(given)

    assert words in str(raised.value)


def test_a_job_gives_each_endpoint_what_it_knows() -> None:
    parameters = InferenceParameters(
        max_tokens=5, temperature=0.0, frequency_penalty=1.5, extra_body={"truncate_prompt_tokens": 9}
    )

    sampling = {"temperature": 0.0, "frequency_penalty": 1.5}
    assert parameters.body(CHAT) == {"max_tokens": 5, **sampling, "truncate_prompt_tokens": 9}
    assert parameters.body("/v1/responses") == {
        "max_output_tokens": 5,
        **sampling,
        "truncate_prompt_tokens": 9,
    }
    assert parameters.body("/v1/embeddings") == {"truncate_prompt_tokens": 9}


@pytest.mark.parametrize("encoding", ["bytes", "bytes_only"])
def test_embeddings_that_are_no_json_are_refused(encoding: str) -> None:
    problem = check_body({"input": "x", "encoding_format": encoding}, "/v1/embeddings")

    assert isinstance(problem, Problem)
    assert problem.message == f'encoding_format="{encoding}": expected float or base64: a line of results is JSON'
    assert not isinstance(check_body({"input": "x", "encoding_format": "base64"}, "/v1/embeddings"), Problem)


def test_long_values_are_cut() -> None:
    assert len(shown("x" * 1000)) == 80
