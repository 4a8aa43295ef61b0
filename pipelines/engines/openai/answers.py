"""What an OpenAI-compatible endpoint's reply means: a result, a refusal, or nothing of use. Knows nothing of HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import orjson

from batch.result import Code, Usage, one_line
from batch.rows.request import CHAT, COMPLETIONS, EMBEDDINGS, RESPONSES, Request
from pipelines.engines.base import Answer, names_model
from pipelines.engines.retries import BUSY

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EXCERPT_BYTES = 200
_MOST_TOKENS = 2**40
"""More than any answer has; larger counts would not fit the ledger once they are added up."""
_SUCCESS, _ERROR = range(200, 300), range(400, 600)
_ANSWERS = {CHAT: ("choices", "message"), COMPLETIONS: ("choices", "text"), EMBEDDINGS: ("data", "embedding")}
"""Where an answer of an endpoint holds its parts, and what each part has."""
_SCORES = ("data", "results", "scores")
"""Where vLLM, Cohere and SGLang put scores and ranks; SGLang's ranks are a bare list."""
_JOBS_FAULT = frozenset({401, 402, 403, 407})
"""Key, account and permissions: no row is to blame."""
_ROWS_FAULT = frozenset({413, 422})


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over the wire. `retry_after_s`: 0 where the endpoint asks for no pause."""

    url: str
    status_code: int
    body: bytes
    location: str | None = None
    retry_after_s: float = 0.0


def read_answer(request: Request, reply: Reply) -> Answer:
    """Return what a reply means for the request."""
    reply = replace(reply, body=reply.body.removeprefix(_BYTE_ORDER_MARK).strip())
    answered, model = _json(reply.body), request.body.get("model")
    error = _member(answered, "error")
    if reply.status_code not in _SUCCESS:
        answer = _refusal(reply, answered, model)
    elif error:  # a gateway that has begun to answer has no other way to say so
        said = _member(error, "code")
        status_code = said if type(said) is int and said in _ERROR else HTTPStatus.INTERNAL_SERVER_ERROR
        answer = _refusal(replace(reply, status_code=status_code), answered, model)
    elif not _is_answer_of(request.endpoint, answered):
        message = (
            f"{reply.url} answers {reply.status_code} with no answer of {request.endpoint}: {_excerpt(reply.body)}"
        )
        answer = no_answer(HTTPStatus.INTERNAL_SERVER_ERROR, message, Code.INTERNAL)
    else:
        answer = Answer(HTTPStatus.OK, one_line(reply.body), _usage(answered))
    return replace(answer, retry_after_s=reply.retry_after_s)


def read_models(reply: Reply) -> Answer:
    """Return what a reply to a question for models means: whatever it lists is an answer."""
    if reply.status_code in _SUCCESS:
        return Answer(HTTPStatus.OK, reply.body, Usage())
    return replace(_refusal(reply, None, None), retry_after_s=reply.retry_after_s)


def no_answer(status_code: int, message: str, code: Code) -> Answer:
    """Return a failure in our own words, in the shape in which servers write theirs."""
    failure = {"error": {"message": message, "type": code, "param": None, "code": status_code}}
    return Answer(status_code, orjson.dumps(failure), Usage(), code)


def retry_after_s(header: str | None, now: datetime) -> float:
    """Return the seconds that a Retry-After header asks for, as a number or a date; 0 for any that asks for none."""
    try:
        asked_s = float(header or 0)
    except ValueError:
        asked_s = _seconds_until(header or "", now)
    return asked_s if asked_s > 0 else 0.0  # NaN is not more than 0


def _seconds_until(date: str, now: datetime) -> float:
    try:
        then = parsedate_to_datetime(date)
        return (then if then.tzinfo else then.replace(tzinfo=now.tzinfo)).timestamp() - now.timestamp()
    except (ValueError, OverflowError):
        return 0.0


def _json(body: bytes) -> object:
    """The value; None where there is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _is_answer_of(endpoint: str, answered: object) -> bool:
    if endpoint == RESPONSES:
        return isinstance(_member(answered, "output"), list)
    if endpoint in _ANSWERS:
        name, part = _ANSWERS[endpoint]
        parts = _member(answered, name)
        return isinstance(parts, list) and len(parts) > 0 and all(_has(inner, part) for inner in parts)
    lists = (
        answered
        if isinstance(answered, list)
        else next((found for name in _SCORES if (found := _member(answered, name)) is not None), None)
    )
    return isinstance(lists, list) and all(_is_score(score) for score in lists)


def _has(inner: object, name: str) -> bool:
    return isinstance(inner, Mapping) and inner.get(name) is not None


def _is_score(score: object) -> bool:
    return isinstance(score, list | int | float) or _has(score, "score") or _has(score, "relevance_score")


def _refusal(reply: Reply, answered: object, model: object) -> Answer:
    status_code, told = reply.status_code, _told(answered)
    if status_code < HTTPStatus.BAD_REQUEST:
        to = "" if reply.location is None else f" to {reply.location}"
        message = (
            f"{reply.url} redirects{to} ({status_code}), and no redirect is followed: base_url must be the address"
        )
        return no_answer(status_code, message, Code.INTERNAL)
    code = _code(status_code, told, model)
    if isinstance(_member(answered, "error"), dict):
        return Answer(status_code, one_line(reply.body), Usage(), code)
    return no_answer(status_code, f"{reply.url} answers {status_code}: {told or _excerpt(reply.body)}", code)


def _told(answered: object) -> str | None:
    """The server's own words: in an error as OpenAI writes it, as a bare text, as SGLang's, as a web framework's."""
    error = _member(answered, "error")
    texts = (_member(error, "message"), error, _member(answered, "message"), _member(answered, "detail"))
    return next((text for text in texts if isinstance(text, str) and text), None)


def _code(status_code: int, told: str | None, model: object) -> Code:
    if status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        if told is None or told.lower() in ("not found", "method not allowed"):  # a framework that knows no such URL
            return Code.UNSUPPORTED_ENDPOINT
        return Code.MODEL_MISMATCH if names_model(told, model) else Code.INVALID_PARAMETER
    if status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or status_code in BUSY | _JOBS_FAULT:
        return Code.INTERNAL
    if told is not None and "context length" in told:
        return Code.PROMPT_TOO_LONG
    return Code.INTERNAL if told is None and status_code not in _ROWS_FAULT else Code.INVALID_PARAMETER


def message_of(answer: Answer) -> str:
    """Return the message of an answer that is a failure."""
    return str(_told(orjson.loads(answer.body)) or answer.body.decode())


def _excerpt(body: bytes) -> str:
    return repr(" ".join(body[:_EXCERPT_BYTES].decode(errors="replace").split()))


def _usage(answered: object) -> Usage:
    usage = _member(answered, "usage")
    details = _member(usage, "prompt_tokens_details") or _member(usage, "input_tokens_details")
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens") or _count(usage, "input_tokens"),
        completion_tokens=_count(usage, "completion_tokens") or _count(usage, "output_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
    )


def _member(answered: object, name: str) -> object:
    return answered.get(name) if isinstance(answered, dict) else None


def _count(usage: object, name: str) -> int:
    count = _member(usage, name)
    return count if type(count) is int and 0 <= count <= _MOST_TOKENS else 0
