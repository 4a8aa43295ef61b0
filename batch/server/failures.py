"""What is told of an exception, on every face. Nothing of a stack, or of a path of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from batch.errors import SpecMismatch, UsageError
from batch.server.refusal import Refused
from connectors.errors import NoSpace, Unavailable


def meaning(error: Exception) -> Refused:
    """The refusal that an exception stands for."""
    match error:
        case Refused():
            return error
        case ValidationError():
            return of_validation(error.errors())
        case SpecMismatch():
            return Refused(HTTPStatus.CONFLICT, "already_exists", _differing(error), may_retry=False)
        case UsageError():
            return Refused(HTTPStatus.BAD_REQUEST, "invalid_value", str(error))
        case Unavailable():
            message = "The server's store is out of reach; try again."
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "store_unavailable", message, kind="server_error")
        case NoSpace():
            message = "The server's store has no room left; an admin has to make some."
            return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "store_full", message, kind="server_error")
        case _:
            message = "The server had an error while it did what you asked; its log has this request by its id."
            return Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "server_error", message, kind="server_error")


def of_validation(errors: Sequence[Any]) -> Refused:
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


def scrubbed(value: Any, places: Sequence[str]) -> Any:
    """The same without the addresses of the server's own places."""
    if isinstance(value, dict):
        return {name: scrubbed(each, places) for name, each in value.items()}
    for place in places if isinstance(value, str) else ():
        value = value.replace(place, "")
    return value


def _differing(error: SpecMismatch) -> str:
    """Names the fields and not the values, which may be paths."""
    return f"It exists already with other settings ({', '.join(error.differences)}); use another id."
