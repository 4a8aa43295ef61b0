"""Inference parameters: what a job or a row may ask of the model, their bounds, and which one wins.

A row's own parameter beats the job's, the job's beats the default. Only what is bounded here is checked: the engine
checks the rest. Knows nothing of files, jobs or vLLM's sampling params.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import orjson

from batch.coercion import as_integer, as_number, as_truth
from batch.errors import UsageError
from batch.strict_json import dumps

DEFAULT_MAX_LOGPROBS = 20
MAX_STOPS = 16
_SHOWN_CHARACTERS = 80

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a body; `message` names field, value and bound. No `field`: it is not the fault of one."""

    field: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Bound:
    """What a field may be: the words for it, and how a value is read. None: it is out of bounds."""

    words: str
    read: Callable[[Any], Any]


def _number(words: str, allows: Callable[[float], bool]) -> Bound:
    def read(value: object) -> float | None:
        number = as_number(value)
        return number if number is not None and allows(number) else None

    return Bound(words, read)


def _between(low: float, high: float) -> Bound:
    return _number(f"{low} to {high}", lambda value: low <= value <= high)


def _integer(low: int, high: int | None = None, *, text: bool = True) -> Bound:
    """`text`: whether servers take it from a text, too."""
    top = math.inf if high is None else high

    def read(value: object) -> int | None:
        integer = None if isinstance(value, str) and not text else as_integer(value)
        return integer if integer is not None and low <= integer <= top else None

    return Bound(f"an integer of at least {low}" if high is None else f"an integer, {low} to {high}", read)


def _any(words: str, allows: Callable[[Any], bool]) -> Bound:
    return Bound(words, lambda value: value if allows(value) else None)


def _is_stop(value: object) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, list) and len(value) <= MAX_STOPS and all(isinstance(stop, str) for stop in value)


_NEVER = "chat templates come from the model or --engine-arg chat_template=FILE, not from a request"
_TRUTH = Bound("true or false", as_truth)
_OBJECTS = _any("a list of objects", lambda value: isinstance(value, list) and all(type(v) is dict for v in value))
_OBJECT = _any("an object", lambda value: isinstance(value, dict))


def _object_without(name: str, why: str) -> Bound:
    return _any(f"an object without {name}: {why}", lambda value: isinstance(value, dict) and name not in value)


_EVERYWHERE = {
    "model": _any("the name of a model", lambda value: isinstance(value, str)),
    "stream": Bound(
        "false or absent (a batch has no stream to write to)", lambda value: False if as_truth(value) is False else None
    ),
    "chat_template": _any(f"nothing here: {_NEVER}", lambda _: False),
    "chat_template_kwargs": _object_without("chat_template", _NEVER),
    "mm_processor_kwargs": _object_without("trust_remote_code", "no row makes a model's code run"),
}
_NO_JSON = ("bytes", "bytes_only")
_GENERATION = _EVERYWHERE | {
    "temperature": _between(0.0, 2.0),
    "top_p": _number("more than 0, at most 1.0", lambda value: 0 < value <= 1),
    # 0 and -1 both turn it off: vLLM's own default is 0.
    "top_k": _integer(-1),
    "presence_penalty": _between(-2.0, 2.0),
    "frequency_penalty": _between(-2.0, 2.0),
    "seed": _integer(-(2**63), 2**63 - 1),
    "n": _integer(1, 128),
    "max_tokens": _integer(1),
    "stop": _any(f"a string or at most {MAX_STOPS} strings", _is_stop),
}
_BOUNDS: dict[str, dict[str, Bound]] = {
    "/v1/chat/completions": _GENERATION
    | {
        "messages": _OBJECTS,
        "max_completion_tokens": _integer(1),
        "logprobs": _TRUTH,
        "tools": _OBJECTS,
        "response_format": _OBJECT,
    },
    # max_tokens=0 with echo only scores the prompt, so there is no lower bound of 1 here.
    "/v1/completions": _GENERATION | {"max_tokens": _integer(0), "response_format": _OBJECT},
    "/v1/responses": _GENERATION | {"max_output_tokens": _integer(1)},
    "/v1/embeddings": _EVERYWHERE
    | {"encoding_format": _any("float or base64: a line of results is JSON", lambda value: value not in _NO_JSON)},
}
# How many logprobs an endpoint is asked for, and whether vLLM takes that number from a text.
_LOGPROBS = {
    "/v1/chat/completions": ("top_logprobs", False),
    "/v1/completions": ("logprobs", False),
    "/v1/responses": ("top_logprobs", True),
}
_REQUIRED: dict[str, tuple[str, ...]] = {
    "/v1/chat/completions": ("messages",),
    "/v1/completions": ("prompt", "prompt_embeds"),
    "/v1/embeddings": ("input", "messages"),
}
# Two names of one thing: a row that sets either must not meet the other one from the job.
_SAME = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


class BodyCheck:
    """Reads bodies of requests within their bounds, with the logprobs that the engine was told to allow."""

    def __init__(self, *, max_logprobs: int = DEFAULT_MAX_LOGPROBS) -> None:
        """`max_logprobs`: the engine's own limit; -1 for none."""
        self._bounds = dict(_BOUNDS)
        for endpoint, (name, text) in _LOGPROBS.items():
            logprobs = _integer(-1, text=text) if max_logprobs < 0 else _integer(0, max_logprobs, text=text)
            self._bounds[endpoint] = _BOUNDS[endpoint] | {name: logprobs}

    def __call__(self, body: Mapping[str, object], endpoint: str) -> Body | Problem:
        """Return the body with each bounded value in its own type, or its first problem.

        null stands for absent, as in OpenAI's API.
        """
        required = _REQUIRED.get(endpoint)
        if required is not None and not any(body.get(name) is not None for name in required):
            return Problem(required[0], f"{required[0]}: missing, {endpoint} needs it")
        bounds = self._bounds.get(endpoint, _EVERYWHERE)
        typed: Body = {}
        for name, value in body.items():
            bound = bounds.get(name)
            if bound is not None and value is not None:
                typed[name] = bound.read(value)
                if typed[name] is None:
                    return Problem(name, f"{name}={shown(value)}: expected {bound.words}")
        return {**body, **typed}


_check_body = BodyCheck()


def check_body(body: Mapping[str, object], endpoint: str) -> Body | Problem:
    """Return the body of a request with values in their types, or its first problem; no engine argument changes it."""
    return _check_body(body, endpoint)


def merge(defaults: Mapping[str, Any], job: Mapping[str, Any], row: Mapping[str, Any]) -> Body:
    """Return one body: the row's parameters beat the job's, the job's beat the defaults. Nothing is changed in place.

    A parameter that is null in the row is set by the row.
    """
    merged: Body = {**defaults}
    for layer in (job, row):
        for name, other in _SAME.items():
            if name in layer:
                merged.pop(other, None)
        merged.update(layer)
    return merged


def shown(value: object) -> str:
    """Return the value as the user wrote it, in JSON, cut at 80 characters."""
    try:
        text = dumps(value).decode()
    except (TypeError, ValueError):  # given in Python or in odd bytes, and nothing that JSON can hold
        text = ascii(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


@dataclass(frozen=True, slots=True)
class Flag:
    """How a person asks for a parameter at the command line. `kind`: the type of its value; dict: a JSON object."""

    names: tuple[str, ...]
    kind: type
    metavar: str
    help: str


def _flag(*names: str, kind: type, metavar: str, help: str) -> dict[str, Flag]:  # noqa: A002
    return {"flag": Flag(names, kind, metavar, help)}


@dataclass(frozen=True, slots=True)
class InferenceParameters:
    """What a job asks of the model for each of its rows, where the row does not ask otherwise. None: not asked.

    The one table of them: flags, their help, names in Python and in stored specs are made of these fields.
    """

    max_tokens: int | None = field(
        default=None,
        metadata=_flag("--max-tokens", kind=int, metavar="N", help="At most so many tokens an answer."),
    )
    temperature: float | None = field(
        default=None,
        metadata=_flag("--temperature", kind=float, metavar="T", help="Sampling temperature, 0 to 2."),
    )
    top_p: float | None = field(
        default=None,
        metadata=_flag("--top-p", kind=float, metavar="P", help="Nucleus sampling, above 0 to 1."),
    )
    top_k: int | None = field(
        default=None,
        metadata=_flag("--top-k", kind=int, metavar="K", help="Sample from the K likeliest tokens."),
    )
    frequency_penalty: float | None = field(
        default=None,
        metadata=_flag(
            "--frequency-penalty",
            kind=float,
            metavar="F",
            help="Make tokens less likely the more often they stand in the answer, -2 to 2.",
        ),
    )
    n: int | None = field(
        default=None,
        metadata=_flag("-n", "--n", kind=int, metavar="N", help="Answers for each request."),
    )
    extra_body: dict[str, object] = field(
        default_factory=dict,
        metadata=_flag("--extra-body", kind=dict, metavar="JSON", help="More parameters of the request body."),
    )
    system_prompt: str | None = field(
        default=None,
        metadata=_flag("--system-prompt", kind=str, metavar="TEXT", help="The system message of rows that have none."),
    )

    def __post_init__(self) -> None:
        for name in _NUMBERS:
            if FLAGS[name].kind is float and type(getattr(self, name)) is int:  # 0 and 0.0 have to make one digest
                object.__setattr__(self, name, float(getattr(self, name)))

    @staticmethod
    def from_dict(given: Mapping[str, object]) -> InferenceParameters:
        """Read `{"max_tokens": 16}` or `{"maxTokens": 16}`; extra_body may be an object or its JSON text.

        Raises UsageError for an unknown name, a type or a bound.
        """
        values: dict[str, Any] = {}
        for name, value in given.items():
            if name not in _NAMES:
                raise UsageError(f"inference parameter {name!r} is unknown: expected {', '.join(_FIELDS)}")
            if value is not None:
                values[_NAMES[name]] = value
        values["extra_body"] = _read_extra_body(values.get("extra_body", {}))
        if not isinstance(values.get("system_prompt", ""), str):
            raise UsageError(f"system_prompt={shown(values['system_prompt'])}: expected a string")
        _checked(values["extra_body"])
        named = {name: value for name, value in values.items() if name in _NUMBERS}
        return InferenceParameters(**{**values, **_checked(named)})

    def to_dict(self) -> dict[str, object]:
        """Return what is set, by snake_case name; `from_dict` reads it back."""
        given = {name: getattr(self, name) for name in _FIELDS}
        return {name: value for name, value in given.items() if value not in (None, {})}

    def body(self, endpoint: str) -> Body:
        """Return what a request to this endpoint gets from the job: `extra_body` only, where no text is generated."""
        given: Body = {}
        if endpoint in _LOGPROBS:
            given = {name: value for name in _NUMBERS if (value := getattr(self, name)) is not None}
        if endpoint == "/v1/responses" and "max_tokens" in given:
            given["max_output_tokens"] = given.pop("max_tokens")
        return merge({}, given, self.extra_body)


def _checked(body: Body) -> Body:
    """Return what a job asks of chats, in its types. Raises UsageError for the first problem."""
    checked = check_body({"messages": [], **body}, "/v1/chat/completions")
    if not isinstance(checked, Problem):
        return {name: checked[name] for name in body}
    if checked.field in _BY_ENGINE:
        return body
    raise UsageError(f"inference parameters: {checked.message}")


FLAGS: dict[str, Flag] = {each.name: each.metadata["flag"] for each in fields(InferenceParameters)}
"""The flag of each parameter, in the order in which help shows them."""
_FIELDS = tuple(FLAGS)
_NUMBERS = tuple(name for name, flag in FLAGS.items() if flag.kind in (int, float))
_BY_ROW = frozenset({"model", "messages", "prompt", "input"})
_BY_ENGINE = ("top_logprobs", "logprobs")


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


_NAMES = {name: name for name in _FIELDS} | {_camel(name): name for name in _FIELDS}


def _read_extra_body(given: object) -> Body:
    if isinstance(given, str):
        try:
            given = orjson.loads(given or "{}")
        except orjson.JSONDecodeError as error:
            raise UsageError(f"extra_body is not JSON: {error}") from None
    if not isinstance(given, dict):
        raise UsageError(f"extra_body={shown(given)}: expected a JSON object")
    for name in _BY_ROW & given.keys():
        raise UsageError(f"extra_body holds {name!r}, which is each row's own: leave it out")
    return dict(given)
