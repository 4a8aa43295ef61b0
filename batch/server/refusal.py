"""Why a request is refused, in the words that every face of the server renders in its clients' own shape.

Knows no face.
"""

from __future__ import annotations

from http import HTTPStatus


class Refused(Exception):
    """A request that cannot be done. `code`: OpenAI's word for it; `param`: the field or parameter that is wrong.

    `may_retry`: whether the same request may succeed later; None leaves it to the status.
    """

    def __init__(
        self,
        status: HTTPStatus,
        code: str,
        message: str,
        *,
        param: str | None = None,
        kind: str = "invalid_request_error",
        may_retry: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.param = param
        self.kind = kind
        self.may_retry = may_retry


def not_there(what: str, own_id: str) -> Refused:
    """The same text for what never was, is deleted, has expired or is another account's."""
    return Refused(HTTPStatus.NOT_FOUND, "not_found", f"No such {what}: {own_id}", param="id")


def invalid(param: str, message: str, code: str = "invalid_value") -> Refused:
    """A value that cannot be."""
    return Refused(HTTPStatus.BAD_REQUEST, code, message, param=param)
