"""Errors in the shape that each face's clients read. No answer shows a stack, or a path of the machine."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from batch.errors import BatchError
from batch.server.failures import meaning, of_validation, scrubbed
from batch.server.refusal import Refused
from connectors.errors import InputError, StoreError

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
    refused = meaning_here(error)
    if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("%s %s, request %s", request.method, request.url.path, request_id(request), exc_info=error)
    headers = dict(getattr(error, "headers", None) or {})
    if refused.may_retry is not None:
        headers["x-should-retry"] = str(refused.may_retry).lower()
    if refused.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS):
        headers["retry-after"] = _RETRY_LATER_S
    status, body = _shape(request.url.path, refused, request_id(request))
    return JSONResponse(scrubbed(body, request.app.state.door.server.places), status, headers)


def _shape(path: str, refused: Refused, own_id: str) -> tuple[int, dict[str, Any]]:
    """Status and body in the shape of the face that the path is of."""
    if not path.startswith(FIREWORKS_PATHS):
        return refused.status, openai_shape(refused)
    if refused.status is HTTPStatus.UNAUTHORIZED:
        error = {"message": refused.message, "param": None, "code": "UNAUTHORIZED", "type": "error"}
        return HTTPStatus.FORBIDDEN, {"error": error, "request_id": own_id}
    return refused.status, {"code": _GRPC_CODES.get(refused.status, 2), "message": refused.message, "details": []}


def openai_shape(refused: Refused) -> dict[str, object]:
    """`{"error": {message, type, param, code}}`."""
    error = {"message": refused.message, "type": refused.kind, "param": refused.param, "code": refused.code}
    return {"error": error}


def meaning_here(error: Exception) -> Refused:
    """What is told of an exception, those of the framework too."""
    match error:
        case RequestValidationError():
            return of_validation(error.errors())
        case HTTPException():
            return _of_http(error)
        case _:
            return meaning(error)


def request_id(request: Request) -> str:
    """The id of a request, which is in its answer, too."""
    return str(request.scope.get("request_id", ""))


def _of_http(error: HTTPException) -> Refused:
    status = HTTPStatus(error.status_code)
    return Refused(status, _HTTP_CODES.get(status, "bad_request"), str(error.detail))
