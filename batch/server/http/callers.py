"""Who makes a request: the key that it carries. Knows no route."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request

from batch.server.access import ANYBODY, Caller, caller_of
from batch.server.server import BatchServer
from batch.server.tenant import Tenant


@dataclass(frozen=True, slots=True)
class Door:
    """Lets callers in. Without `asks_for_keys` everybody is the admin of one account."""

    server: BatchServer
    asks_for_keys: bool

    async def caller(self, request: Request) -> Caller:
        """Who makes the request. Refused: no key, or none that lets in."""
        if not self.asks_for_keys:
            return ANYBODY
        keys, secret = self.server.keys, _secret(request)
        if not secret or keys.remembered(secret) is not None:
            return caller_of(keys, secret)
        return await to_thread.run_sync(caller_of, keys, secret)


async def entered(request: Request) -> Caller:
    """The caller of a request, for routes."""
    door: Door = request.app.state.door
    return await door.caller(request)


async def may_change(caller: Annotated[Caller, Depends(entered)]) -> Caller:
    """A caller that may change things. Refused: a viewer."""
    caller.check_may_change()
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


def is_retry(request: Request) -> bool:
    """Whether the client says that it sends a request again."""
    return request.headers.get("x-stainless-retry-count", "0") not in ("", "0")


def _secret(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
