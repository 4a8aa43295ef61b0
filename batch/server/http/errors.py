"""Errors in the shape that each face's clients read. No answer shows a stack, or a path of the machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from batch.errors import BatchError, SpecMismatch, UsageError
from batch.server.refusal import Refused
from connectors.errors import InputError, StoreError, Unavailable

logger = logging.getLogger(__name__)


class OpenAIError(BaseModel):
    """What is wrong, as OpenAI's clients read it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIFailure(BaseModel):
    """The body of an answer that is no success."""

    error: OpenAIError


class FireworksFailure(BaseModel):
    """The same as Fireworks' clients read it. `code`: gRPC's number."""

    code: int
    message: str
    details: list[object]


class FireworksNoEntry(BaseModel):
    """The body where no key, or none that lets in, was shown."""

    error: OpenAIError
    request_id: str


Described = dict[int | str, dict[str, Any]]
OPENAI_FAILURES: Described = {status: {"model": OpenAIFailure} for status in ("4XX", "5XX")}
FIREWORKS_FAILURES: Described = {
    "403": {"model": FireworksNoEntry | FireworksFailure},
    **{status: {"model": FireworksFailure} for status in ("4XX", "5XX")},
}
"""For the description of every route: what may be answered besides a success."""
FIREWORKS_PATHS = ("/v1/accounts", "/v1/blobs", "/verifyApiKey")
_GRPC_CODES = {
    HTTPStatus.BAD_REQUEST: 3,
    HTTPStatus.REQUEST_TIMEOUT: 4,
    HTTPStatus.NOT_FOUND: 5,
    HTTPStatus.CONFLICT: 6,
    HTTPStatus.FORBIDDEN: 7,
    HTTPStatus.TOO_MANY_REQUESTS: 8,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: 11,
    HTTPStatus.NOT_IMPLEMENTED: 12,
    HTTPStatus.INTERNAL_SERVER_ERROR: 13,
    HTTPStatus.SERVICE_UNAVAILABLE: 14,
}
"""Of a status, the number that gRPC has for it; 2 is what it calls unknown."""
_RETRY_LATER_S = "5"
_HTTP_CODES = {
    HTTPStatus.NOT_FOUND: "unknown_url",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_supported",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.REQUEST_TIMEOUT: "request_timeout",
}


def render_errors(app: FastAPI) -> None:
    """Let the app answer every exception in the client's own shape."""
    app.add_exception_handler(Refused, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(BatchError, _answer)
    app.add_exception_handler(StoreError, _answer)
    app.add_exception_handler(InputError, _answer)
    app.add_exception_handler(Exception, _answer)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    refused = meaning(error)
    if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s, request %s", request.method, request.url.path, request_id(request), exc_info=error)
    headers = dict(getattr(error, "headers", None) or {})
    if refused.may_retry is not None:
        headers["x-should-retry"] = str(refused.may_retry).lower()
    if refused.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["retry-after"] = _RETRY_LATER_S
    status, body = _shape(request.url.path, refused, request_id(request))
    hidden = [str(place) for place in request.app.state.places]
    return JSONResponse(_scrubbed(body, hidden), status, headers)


def _shape(path: str, refused: Refused, own_id: str) -> tuple[int, dict[str, Any]]:
    """Status and body in the shape of the face that the path is of."""
    if not path.startswith(FIREWORKS_PATHS):
        return refused.status, openai_shape(refused)
    if refused.status is HTTPStatus.UNAUTHORIZED:
        error = {"message": refused.message, "param": None, "code": "UNAUTHORIZED", "type": "error"}
        return HTTPStatus.FORBIDDEN, {"error": error, "request_id": own_id}
    return refused.status, {"code": _GRPC_CODES.get(refused.status, 2), "message": refused.message, "details": []}


def _scrubbed(value: Any, places: Sequence[str]) -> Any:
    """The same without the addresses of the server's own places."""
    if isinstance(value, dict):
        return {name: _scrubbed(each, places) for name, each in value.items()}
    for place in places if isinstance(value, str) else ():
        value = value.replace(place, "")
    return value


def openai_shape(refused: Refused) -> dict[str, object]:
    """`{"error": {message, type, param, code}}`."""
    error = {"message": refused.message, "type": refused.kind, "param": refused.param, "code": refused.code}
    return {"error": error}


def meaning(error: Exception) -> Refused:
    """What is told of an exception."""
    match error:
        case Refused():
            return error
        case RequestValidationError():
            return _of_validation(error.errors())
        case HTTPException():
            return _of_http(error)
        case SpecMismatch():
            return Refused(HTTPStatus.CONFLICT, "already_exists", _differing(error), may_retry=False)
        case UsageError():
            return Refused(HTTPStatus.BAD_REQUEST, "invalid_value", str(error))
        case Unavailable():
            message = "The server's store is out of reach; try again."
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable", message, kind="server_error")
        case _:
            message = "The server had an error while it did what you asked; its log has this request by its id."
            return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "server_error", message, kind="server_error")


def request_id(request: Request) -> str:
    """The id of a request, which is in its answer, too."""
    return str(request.scope.get("request_id", ""))


def _differing(error: SpecMismatch) -> str:
    """Names the fields and not the values, which may be paths."""
    return f"It exists already with other settings ({', '.join(error.differences)}); use another id."


def _of_http(error: HTTPException) -> Refused:
    status = HTTPStatus(error.status_code)
    return Refused(status, _HTTP_CODES.get(status, "bad_request"), str(error.detail))


def _of_validation(errors: Sequence[Any]) -> Refused:
    """The first fault of a request, by the name of its field."""
    first = errors[0]
    place = [str(step) for step in first["loc"] if step not in ("body", "query", "path", "header")]
    param = ".".join(place) or None
    if first["type"] == "missing":
        message = f"Missing required parameter: {param!r}." if param else "The request has no body."
        return Refused(HTTPStatus.BAD_REQUEST, "missing_required_parameter", message, param=param)
    if first["type"] == "json_invalid":
        return Refused(HTTPStatus.BAD_REQUEST, "invalid_json", f"The body is not JSON: {first['ctx']['error']}.")
    found = f"Invalid value for {param!r}: {first['msg']}." if param else f"The body: {first['msg']}."
    return Refused(HTTPStatus.BAD_REQUEST, "invalid_value", found, param=param)
