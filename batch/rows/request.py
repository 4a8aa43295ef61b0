"""Decoding: one line of a dataset becomes the request that it asks for, or the failure that it is.

Knows nothing of where lines come from, and of engines only the names of the endpoints.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from batch.result import EXCERPT_BYTES, Code, Place, RowFailure, sentence
from batch.rows.default_ids import common_root, label
from batch.rows.media import forbidden_address, may_hold_address
from batch.rows.template import Message, MessagesTemplate, MissingField, PromptTemplate
from batch.spec.job_spec import JobSpec
from batch.spec.parameters import DEFAULT_MAX_LOGPROBS, Body, BodyCheck, Problem, merge, shown
from batch.strict_json import StrictJSONError, loads

if TYPE_CHECKING:
    from connectors.datasets.lines import Line

CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses"
ENDPOINTS = (CHAT, COMPLETIONS, EMBEDDINGS, "/v1/score", "/score", "/v1/rerank", "/rerank", "/v2/rerank", RESPONSES)

# Azure's lines have no version in their URLs.
_URLS = {name.removeprefix("/v1"): name for name in ENDPOINTS} | {name: name for name in ENDPOINTS}

Fields = dict[str, Any]

# A body without a URL is told by the field that holds its input.
INPUTS = {"messages": CHAT, "prompt": COMPLETIONS, "input": EMBEDDINGS}
_ERROR_TYPES = {
    400: "BadRequestError",
    404: "NotFoundError",
    405: "Method Not Allowed",
    500: "InternalServerError",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One row to run. `body` is complete: the engine gets it as it is."""

    custom_id: str
    endpoint: str
    body: Body
    metadata: dict[str, object] | None = None


class _Template(Protocol):
    @property
    def fields(self) -> frozenset[str]: ...

    def messages(self, row: Fields) -> list[Message]: ...


class _Refused(Exception):
    """Why a line cannot run; `status_code` where a server would have answered."""

    def __init__(self, code: Code, problem: Problem | str, status_code: int | None = None) -> None:
        self.code = code
        self.field = problem.field if isinstance(problem, Problem) else None
        self.message = problem.message if isinstance(problem, Problem) else problem
        self.status_code = status_code


class Decoder:
    """Decodes the lines of one job. One instance serves any number of files and threads.

    Raises UsageError for a template that is none.
    """

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._root = common_root(spec.inputs)
        self._served = spec.engine_names[0]
        self._engine_names, self._allowed_models = frozenset(spec.engine_names), frozenset(spec.allowed_models)
        self._defaults = {endpoint: spec.parameters.body(endpoint) for endpoint in ENDPOINTS}
        self._check = BodyCheck(max_logprobs=int(spec.engine_args.get("max_logprobs", DEFAULT_MAX_LOGPROBS)))
        self._template = template_of(spec)
        self._templated_media = may_hold_address(orjson.dumps(spec.messages_template))
        self._not_body = {"custom_id", spec.id_field, *spec.carry} - {"model", *INPUTS}

    def decode(self, file: str, line: Line, *, duplicate: bool = False) -> Request | RowFailure:
        """Return what the line asks for, or why it cannot run. Never raises, whatever the bytes.

        `duplicate`: the plan found that an earlier line has this line's custom_id.
        """
        custom_id: str | None = None
        metadata: Fields | None = None
        try:
            row = self._read(line)
            metadata = self._carried(row)
            custom_id = self._given_id(row) or f"{label(self._root, file)}:{line.number}"
            if duplicate:
                raise _Refused(Code.DUPLICATE_CUSTOM_ID, f"custom_id {shown(custom_id)}: an earlier line has it too")
            endpoint, body = self._asked(row)
            complete = self._complete(endpoint, body)
            self._check_media(line.raw, complete)
        except Exception as error:  # noqa: BLE001 - else a fault of ours, and no row may end its job
            refused = error if isinstance(error, _Refused) else _Refused(Code.INTERNAL, sentence(error), 500)
            return _failure(custom_id, refused, Place(file, line.number, line.offset), line.raw, metadata)
        return Request(custom_id, endpoint, complete, metadata)

    def custom_id(self, line: Line) -> str | None:
        """Return the id that the row was given, or None where it has none of its own or cannot be read."""
        try:
            return self._given_id(self._read(line))
        except Exception:  # noqa: BLE001 - as above: `decode` says what is wrong with the line
            return None

    def _read(self, line: Line) -> Fields:
        if line.problem is not None:
            raise _Refused(*self._unreadable(line.problem, line.detail))
        try:
            row = loads(line.raw)
        except StrictJSONError as error:
            raise _Refused(error.code, str(error)) from None
        if not isinstance(row, dict):
            raise _Refused(Code.NOT_AN_OBJECT, f"the line holds {shown(row)}: expected a JSON object")
        return row

    def _unreadable(self, problem: str, detail: str) -> tuple[Code, str]:
        if problem == "line_too_long":
            return Code.LINE_TOO_LONG, f"the line is longer than {self._spec.max_line_bytes} bytes"
        if problem == "expansion_limit":
            beyond = "the compressed file expands beyond all measure: it is read up to this line"
            return Code.LINE_TOO_LONG, detail or beyond
        if problem == "truncated":
            ends = "the compressed file ends in this line: it was cut off, or is still being written"
            return Code.MALFORMED_JSON, ends
        return Code(problem), detail

    def _given_id(self, row: Fields) -> str | None:
        """Return the custom_id the row has, None for a row that may have none."""
        if self._is_batch_line(row):
            custom_id = row.get("custom_id")
            if not isinstance(custom_id, str) or not custom_id:
                raise _Refused(Code.MISSING_CUSTOM_ID, _no_id("custom_id", custom_id))
            return custom_id
        name = self._spec.id_field or "custom_id"
        given = row.get(name)
        if given is None and self._spec.id_field is None:
            return None
        if type(given) is int or (isinstance(given, str) and given):
            return str(given)
        raise _Refused(Code.MISSING_CUSTOM_ID, _no_id(name, given))

    def _is_batch_line(self, row: Fields) -> bool:
        """True for the lines of OpenAI and Fireworks."""
        return "body" in row and not self._is_for_template(row)

    def _is_for_template(self, row: Fields) -> bool:
        """True for a row with the template's fields, and for one without that is no request of its own either."""
        if self._template is None:
            return False
        if all(row.get(name) is not None for name in self._template.fields):
            return True
        return type(row.get("body")) is not dict and all(row.get(name) is None for name in INPUTS)

    def _carried(self, row: Fields) -> Fields | None:
        return {name: row[name] for name in self._spec.carry if name in row} if self._spec.carry else None

    def _asked(self, row: Fields) -> tuple[str, Body]:
        if self._template is not None and self._is_for_template(row):
            try:
                return CHAT, {"messages": self._template.messages(row)}
            except MissingField as missing:
                raise _Refused(Code.INVALID_PARAMETER, missing.problem, 400) from None
        if "body" in row:
            body = row["body"]
            if type(body) is not dict:
                raise _Refused(Code.INVALID_PARAMETER, Problem("body", f"body={shown(body)}: expected an object"), 400)
            return _endpoint(row, body), body
        asked = {name: row[name] for name in row if name not in self._not_body and not _is_no_input(name, row[name])}
        return _endpoint({}, row), asked

    def _complete(self, endpoint: str, body: Body) -> Body:
        """Return the body as the engine is to get it: the served model, the job's parameters, the system prompt."""
        complete = merge({}, self._defaults[endpoint], body)
        complete["model"] = self._model(body.get("model"))
        typed = self._check(complete, endpoint)
        if isinstance(typed, Problem):
            raise _Refused(Code.INVALID_PARAMETER, typed, 400)
        if self._spec.parameters.system_prompt is not None:
            _place_system_prompt(typed, endpoint, self._spec.parameters.system_prompt)
        return typed

    def _model(self, given: object) -> str:
        served = self._served
        if given is None or self._spec.row_model == "ignore":
            return given if isinstance(given, str) and given in self._engine_names else served
        if not isinstance(given, str):
            problem = Problem("model", f"model={shown(given)}: expected the name of a model")
            raise _Refused(Code.INVALID_PARAMETER, problem, 400)
        if given in self._allowed_models:
            return given if given in self._engine_names else served
        # A folder or an address that has names is not named: whoever sent the rows may know nothing of this machine.
        names = (name for name in self._spec.allowed_models if name in self._engine_names or not _is_place(name))
        allowed = ", ".join(names)
        message = f"model={shown(given)}: this job serves {allowed}; --row-model ignore runs the row on {served}"
        raise _Refused(Code.MODEL_MISMATCH, Problem("model", message), 404)

    def _check_media(self, raw: bytes, body: Body) -> None:
        if self._templated_media or may_hold_address(raw):
            problem = forbidden_address(body)
            if problem is not None:
                raise _Refused(Code.MEDIA_FORBIDDEN, problem, 400)


def _is_place(name: str) -> bool:
    """Whether a model's name says where it lies."""
    return name.startswith(("/", ".", "~")) or "://" in name


def template_of(spec: JobSpec) -> PromptTemplate | MessagesTemplate | None:
    """Return what makes requests of a job's rows, if anything does. Raises UsageError for a template that is none."""
    if spec.prompt_template is not None:
        return PromptTemplate(spec.prompt_template)
    return None if spec.messages_template is None else MessagesTemplate(spec.messages_template)


def _no_id(name: str, given: object) -> str:
    return f"{name}: missing" if given is None else f"{name}={shown(given)}: expected a string that is not empty"


def _endpoint(row: Fields, body: Body) -> str:
    """Return the endpoint that a line names, or that its body is for."""
    method, url = row.get("method"), row.get("url")
    if method is not None and method != "POST":
        problem = Problem("method", f"method={shown(method)}: expected POST")
        raise _Refused(Code.UNSUPPORTED_ENDPOINT, problem, 405)
    if url is None:
        return _endpoint_of(body)
    endpoint = _URLS.get(url.rstrip("/")) if isinstance(url, str) else None
    if endpoint is None:
        near = difflib.get_close_matches(str(url), ENDPOINTS, n=1)
        hint = f"did you mean {near[0]}? Expected" if near else "expected"
        problem = Problem("url", f"url={shown(url)}: {hint} one of {', '.join(ENDPOINTS)}")
        raise _Refused(Code.UNSUPPORTED_ENDPOINT, problem, 404)
    return endpoint


def _endpoint_of(body: Body) -> str:
    given = [name for name in INPUTS if name in body]
    if given:
        return INPUTS[next((name for name in given if not _is_no_input(name, body[name])), given[0])]
    problem = Problem(
        "messages",
        "none of messages, prompt, input; rows of another shape need --prompt-template or --messages-template",
    )
    raise _Refused(Code.INVALID_PARAMETER, problem, 400)


def _is_no_input(name: str, value: object) -> bool:
    """True for the null that stands where another row of the same file has its input."""
    return value is None and name in INPUTS


def _place_system_prompt(body: Body, endpoint: str, system_prompt: str) -> None:
    """Put the job's system prompt before the messages; a row's own beats it."""
    if endpoint == CHAT:
        messages = body["messages"]
        if not messages or messages[0].get("role") not in ("system", "developer"):
            body["messages"] = [{"role": "system", "content": system_prompt}, *messages]
    elif endpoint == RESPONSES:
        body.setdefault("instructions", system_prompt)
    else:
        message = f"system_prompt: {endpoint} has no place for the job's system prompt, it needs rows with messages"
        raise _Refused(Code.INVALID_PARAMETER, Problem("system_prompt", message), 400)


def _failure(custom_id: str | None, refused: _Refused, place: Place, raw: bytes, metadata: Fields | None) -> RowFailure:
    body = None if refused.status_code is None else _error_body(refused, refused.status_code)
    return RowFailure(
        custom_id=custom_id,
        code=refused.code,
        message=refused.message,
        place=place,
        excerpt=raw[:EXCERPT_BYTES],
        field=refused.field,
        status_code=refused.status_code,
        body=body,
        metadata=metadata,
    )


def _error_body(refused: _Refused, status_code: int) -> bytes:
    """Return what `vllm serve` answers to such a request."""
    error = {"message": refused.message, "type": _ERROR_TYPES[status_code], "param": refused.field, "code": status_code}
    return orjson.dumps({"error": error})
