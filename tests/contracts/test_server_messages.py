"""What vLLM's classes say of bodies that they refuse, and what its server writes of it: one line, one member."""

import asyncio
from copy import deepcopy
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.pooling.embed.protocol import EmbeddingRequest
from vllm.entrypoints.pooling.scoring.protocol import RerankRequest, ScoreRequest
from vllm.entrypoints.serve.exception_handling.handlers.validation import validation_exception_handler

from batch.spec.parameters import Problem
from pipelines.engines.validation_errors import first_problem, told_by_server

pytestmark = pytest.mark.slow

USER = {"role": "user", "content": "x"}
CHAT = {"messages": [USER]}

CASES = [
    (ChatCompletionRequest, CHAT | {"min_tokens": None}, "min_tokens=null: expected an integer"),
    (ChatCompletionRequest, {"messages": [USER | {"name": None}]}, "messages[0].name=null: expected a string"),
    (ChatCompletionRequest, {"messages": [USER, {"role": "user", "content": 7}]}, "messages[1].content=7: expected a"),
    (ChatCompletionRequest, {"messages": [{"content": "x"}]}, "messages[0].role: missing"),
    (ChatCompletionRequest, CHAT | {"stop": 7}, "stop=7: expected a string or a list"),
    (ChatCompletionRequest, CHAT | {"tools": [{"type": "function"}]}, "tools[0].function: missing"),
    (ChatCompletionRequest, CHAT | {"logit_bias": {"1": "x"}}, 'logit_bias.1="x": expected a number'),
    (ChatCompletionRequest, CHAT | {"response_format": {"type": "x"}}, "response_format.type=\"x\": expected 'text',"),
    (
        ChatCompletionRequest,
        CHAT | {"response_format": {"type": "json_schema", "json_schema": {}}},
        "response_format.json_schema.name: missing",
    ),
    (ChatCompletionRequest, CHAT | {"reasoning_effort": "huge"}, "reasoning_effort=\"huge\": expected 'none',"),
    (
        ChatCompletionRequest,
        CHAT | {"truncate_prompt_tokens": -7},
        "truncate_prompt_tokens=-7: expected a value greater",
    ),
    (CompletionRequest, {"prompt": {"a": 1}}, 'prompt={"a":1}: expected a list or a string'),
    (EmbeddingRequest, {"input": "x", "dimensions": "y"}, 'dimensions="y": expected an integer'),
    (EmbeddingRequest, {"input": {"a": 1}}, 'input={"a":1}: expected a list or a string'),
    (ScoreRequest, {"text_1": 7, "text_2": "x"}, "text_1=7: expected a string or an object or a list"),
    (RerankRequest, {"query": "x"}, "documents: missing"),
]


@pytest.mark.parametrize(("model", "body", "message"), CASES)
def test_a_refusal_is_one_line_about_the_member_that_matters(model: Any, body: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(model).validate_python(deepcopy(body))

    problem = first_problem(raised.value.errors(include_url=False), body)

    assert problem is not None
    assert problem.message.startswith(message)
    assert problem.message.startswith(str(problem.field))
    assert not set(problem.message) & set("\r\n")
    assert "pydantic" not in problem.message
    assert of_server(raised.value, body) == problem


def of_server(error: ValidationError, body: object) -> Problem | None:
    """What is read of the answer that the server writes."""
    errors = [told | {"loc": ("body", *told["loc"])} for told in error.errors(include_url=False)]
    state = SimpleNamespace(args=SimpleNamespace(log_error_stack=False))
    request: Any = SimpleNamespace(app=SimpleNamespace(state=state))
    answer = asyncio.run(validation_exception_handler(request, RequestValidationError(errors)))
    return told_by_server(orjson.loads(answer.body)["error"]["message"], body)
