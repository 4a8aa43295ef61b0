"""Who makes a request, and what their key lets them do. Knows no wire."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from batch.server.admin.keys import ApiKeys, Role
from batch.server.refusal import Refused

OWN_ACCOUNT = "local"
"""The account of a server that asks for no keys."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `user_id` may be empty."""

    account_id: str
    user_id: str
    role: Role

    @property
    def name(self) -> str:
        """What is written down as the maker of things."""
        return self.user_id or self.account_id

    def check_may_change(self) -> None:
        """Refused: a viewer."""
        if self.role is Role.VIEWER:
            message = "This key may look, but not change anything."
            raise Refused(HTTPStatus.FORBIDDEN, "insufficient_permissions", message)


ANYBODY = Caller(OWN_ACCOUNT, "", Role.ADMIN)
"""The caller where no keys are asked for."""


def caller_of(keys: ApiKeys, secret: str) -> Caller:
    """Whose key it is. Refused: no key, or none that lets in."""
    if not secret:
        raise _no_entry("You did not provide an API key: send it as `Authorization: Bearer KEY`.")
    key = keys.find(secret)
    if key is None:
        raise _no_entry(f"Incorrect API key provided: {_shortened(secret)}. It is unknown, or has expired.")
    return Caller(key.account_id, key.user_id, key.role)


def _no_entry(message: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, "invalid_api_key", message)


def _shortened(secret: str) -> str:
    """Enough of a key to know which one it is, and too little to use it."""
    return f"{secret[:4]}..." if secret.isascii() and secret.isprintable() else "(not printable)"
