"""Who makes a request: the key that it carries, and what that key may do. Knows no route."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request

from batch.server.admin.keys import ApiKey, Role
from batch.server.refusal import Refused
from batch.server.server import BatchServer
from batch.server.tenant import Tenant

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


@dataclass(frozen=True, slots=True)
class Door:
    """Lets callers in. Without `asks_for_keys` everybody is the admin of one account."""

    server: BatchServer
    asks_for_keys: bool

    async def caller(self, request: Request) -> Caller:
        """Who makes the request. Refused: no key, or none that lets in."""
        if not self.asks_for_keys:
            return Caller(OWN_ACCOUNT, "", Role.ADMIN)
        secret = _secret(request)
        if not secret:
            raise _no_entry("You did not provide an API key: send it as `Authorization: Bearer KEY`.")
        if self.server.keys.remembered(secret) is None:
            key = await to_thread.run_sync(self.server.keys.find, secret)
        else:
            key = self.server.keys.find(secret)
        if key is None:
            raise _no_entry(f"Incorrect API key provided: {_shortened(secret)}. It is unknown, or has expired.")
        return _caller(key)


async def entered(request: Request) -> Caller:
    """The caller of a request, for routes."""
    door: Door = request.app.state.door
    return await door.caller(request)


async def may_change(caller: Annotated[Caller, Depends(entered)]) -> Caller:
    """A caller that may change things. Refused: a viewer."""
    if caller.role is Role.VIEWER:
        raise Refused(HTTPStatus.FORBIDDEN, "insufficient_permissions", "This key may look, but not change anything.")
    return caller


Looking = Annotated[Caller, Depends(entered)]
Changing = Annotated[Caller, Depends(may_change)]


def server_of(request: Request) -> BatchServer:
    """The server behind the routes."""
    found: BatchServer = request.app.state.door.server
    return found


def tenant_of(request: Request, caller: Caller) -> Tenant:
    """The account of a caller."""
    return server_of(request).tenant(caller.account_id)


async def open_tenant(request: Request, caller: Caller) -> Tenant:
    """The same for a route that is no thread's: the store is asked for an account once."""
    server = server_of(request)
    found = server.opened(caller.account_id)
    return found if found is not None else await to_thread.run_sync(server.tenant, caller.account_id)


def _secret(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")


def _caller(key: ApiKey) -> Caller:
    return Caller(key.account_id, key.user_id, key.role)


def _no_entry(message: str) -> Refused:
    return Refused(HTTPStatus.UNAUTHORIZED, "invalid_api_key", message)


def _shortened(secret: str) -> str:
    """Enough of a key to know which one it is, and too little to use it."""
    return f"{secret[:4]}..." if secret.isascii() and secret.isprintable() else "(not printable)"
