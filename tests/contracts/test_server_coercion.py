"""Our checks beside the classes that vLLM's server reads bodies with: what it takes for a number is one here, too."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
from vllm.exceptions import VLLMValidationError

from batch.coercion import as_integer, as_number, as_truth
from batch.rows.request import CHAT, COMPLETIONS, RESPONSES
from batch.spec.parameters import Problem, check_body

pytestmark = pytest.mark.slow

SERVER: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    CHAT: (ChatCompletionRequest, {"messages": [{"role": "user", "content": "x"}], "logprobs": True}),
    COMPLETIONS: (CompletionRequest, {"prompt": "x"}),
    RESPONSES: (ResponsesRequest, {"input": "x"}),
}
VALUES: list[object] = [
    *(True, False, 0, 1, -1, 2, 1.0, 0.5, -0.0, 1e308, 2**63, "1", "0", " 1 ", "1.0", "0.5", "-1", "1e0", "1_000"),
    *("true", "FALSE", "yes", "off", "t", "2", "nan", "inf", "", " ", "x", "0x1", "１"),
    *([], [1], ["1"], {}, {"a": 1}, [[]], [{}]),
]
SCALARS = ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty", "seed", "n", "max_tokens")
SCALARS_OF = {
    CHAT: (*SCALARS, "max_completion_tokens", "logprobs", "top_logprobs", "stream"),
    COMPLETIONS: (*SCALARS, "logprobs", "stream"),
    RESPONSES: ("temperature", "top_p", "top_k", "max_output_tokens", "top_logprobs", "stream"),
}


def of_server(endpoint: str, field: str, value: object) -> tuple[bool, object]:
    """Whether the server takes a value, and what for."""
    model, base = SERVER[endpoint]
    try:
        read = model.model_validate(deepcopy(base | {field: value}))
    except (ValidationError, VLLMValidationError, ValueError, TypeError, AttributeError):
        return False, None
    return True, vars(read)[field]  # an attribute may warn that it is old


def of_ours(endpoint: str, field: str, value: object) -> tuple[bool, object]:
    read = check_body(SERVER[endpoint][1] | {field: value}, endpoint)
    return (False, None) if isinstance(read, Problem) else (True, read[field])


@pytest.mark.parametrize("endpoint", SERVER)
def test_we_refuse_no_value_for_a_type_that_the_server_takes(endpoint: str) -> None:
    for field in SERVER[endpoint][0].model_fields:
        for value in VALUES:
            is_taken, typed = of_server(endpoint, field, value)
            if is_taken and not of_ours(endpoint, field, value)[0]:
                # It is out of our bounds then, whatever its type.
                assert not of_ours(endpoint, field, typed)[0], (field, value)


@pytest.mark.parametrize(
    ("endpoint", "field"), [(endpoint, name) for endpoint in SERVER for name in SCALARS_OF[endpoint]]
)
def test_what_we_take_the_server_takes_for_the_same(endpoint: str, field: str) -> None:
    for value in VALUES:
        is_taken, typed = of_ours(endpoint, field, value)
        if is_taken:
            assert of_server(endpoint, field, value) == (True, typed), value
            assert of_server(endpoint, field, typed) == (True, typed), value


@given(
    st.one_of(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
        st.text("0123456789+-_.eE \tnaif", max_size=8),
    )
)
def test_values_are_read_as_pydantic_reads_them(value: object) -> None:
    for kind, read in ((int, as_integer), (float, as_number), (bool, as_truth)):
        try:
            expected = TypeAdapter(kind).validate_python(value)
        except ValidationError:
            expected = None
        assert repr(read(value)) == repr(expected) or read(value) == expected  # NaN is like itself in writing only
