"""What is told of a body that pydantic refuses: one member, in one line."""

from typing import Any, Literal

import orjson
import pytest
from engines import ScriptedEngine, chat, output, planned_job, refused, run_job
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError, field_validator

from batch.result import Code
from batch.spec.parameters import Problem
from pipelines.engines.validation_errors import first_problem, told_by_server


class User(BaseModel):
    role: Literal["user"]
    name: str = ""


class Tool(BaseModel):
    role: Literal["tool"]
    name: str = ""
    tool_call_id: str


class Body(BaseModel):
    messages: list[User | Tool] = []
    min_tokens: int = 0
    seed: int | None = Field(None, le=9)
    stop: str | list[str] = ""
    echo: bool = False
    effort: Literal["low", "high"] = "low"
    bias: dict[str, float] = {}

    @field_validator("effort")
    @classmethod
    def _not_high(cls, effort: str) -> str:
        if effort == "high":
            raise ValueError("the model is tired")
        return effort


def errors_of(body: Any) -> list[Any]:
    with pytest.raises(ValidationError) as raised:
        Body.model_validate(body)
    return list(raised.value.errors(include_url=False))


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({"min_tokens": None}, "min_tokens", "min_tokens=null: expected an integer"),
        ({"min_tokens": "many"}, "min_tokens", 'min_tokens="many": expected an integer'),
        ({"seed": 10}, "seed", "seed=10: expected a value less than or equal to 9"),
        ({"stop": 7}, "stop", "stop=7: expected a string or a list"),
        ({"stop": ["a", None]}, "stop[1]", "stop[1]=null: expected a string"),
        ({"echo": []}, "echo", "echo=[]: expected true or false"),
        ({"effort": "huge"}, "effort", "effort=\"huge\": expected 'low' or 'high'"),
        ({"effort": "high"}, "effort", 'effort="high": the model is tired'),
        ({"bias": {"1": "x"}}, "bias.1", 'bias.1="x": expected a number'),
        ({"messages": {}}, "messages", "messages={}: expected a list"),
        ({"messages": [7]}, "messages[0]", "messages[0]=7: expected an object"),
        (
            {"messages": [{"role": "user", "name": None}]},
            "messages[0].name",
            "messages[0].name=null: expected a string",
        ),
        ({"messages": [{"name": "x"}]}, "messages[0].role", "messages[0].role: missing"),
        ({"messages": [{"role": "cat"}]}, "messages[0].role", "messages[0].role=\"cat\": expected 'user' or 'tool'"),
        ([], None, "expected an object"),
    ],
)
def test_the_member_that_matters_is_told_in_one_line(body: object, field: str | None, message: str) -> None:
    problem = first_problem(errors_of(body), body)

    assert problem is not None
    assert (problem.field or None, problem.message) == (field, message)


def of_server(errors: list[Any]) -> str:
    """The text of vLLM's server."""
    lines = [f"  {error | {'loc': '.'.join(map(str, ('body', *error['loc'])))}}\n" for error in errors]
    return f"{len(errors)} validation errors:\n" + "".join(lines).rstrip()


def test_what_a_server_tells_is_read_and_its_bytes_stay() -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "min_tokens": None, "seed": 1}
    error = {"message": of_server(errors_of({"min_tokens": None})), "param": "body.min_tokens", "code": 400}
    answer = orjson.dumps({"error": error})
    job = planned_job([chat("a", min_tokens=None)])

    run_job(job, ScriptedEngine(lambda *_: refused(400, Code.INVALID_PARAMETER, answer)))

    (line,) = output(job, "errors")
    assert told_by_server(str(error["message"]), body) == Problem("min_tokens", "min_tokens=null: expected an integer")
    assert (line["error"]["field"], line["error"]["message"]) == ("min_tokens", "min_tokens=null: expected an integer")
    assert line["response"]["body"] == {"error": error}


def test_other_words_of_a_server_are_one_line_with_the_field_that_it_names() -> None:
    error = {"message": "the grammar\n\n   is  bad\r\n", "param": "body.response_format", "code": 400}
    job = planned_job([chat("a")])

    run_job(
        job, ScriptedEngine(lambda *_: refused(400, Code.INVALID_PARAMETER, b'{"error": ' + orjson.dumps(error) + b"}"))
    )

    (line,) = output(job, "errors")
    assert (line["error"]["field"], line["error"]["message"]) == ("response_format", "the grammar is bad")


@given(st.text())
def test_no_words_of_a_server_are_too_odd_to_be_read(text: str) -> None:
    told_by_server(text, {})
    told_by_server(f"1 validation error:\n  {{{text}}}", {"a": [1]})


@given(
    st.lists(st.one_of(st.text(), st.integers(), st.none()), max_size=4), st.sampled_from(["missing", "x", "int_type"])
)
def test_no_location_is_too_odd_to_be_found(loc: list[object], kind: str) -> None:
    assert first_problem([{"loc": loc, "type": kind, "msg": "Input should be odd"}], {"a": [{"b": 1}]}) is not None
