"""From an HTTP request to a call, and what lists are asked with. Knows no route."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request
from fastapi import Query as Parameter

from batch.server.fireworks.call import Call
from batch.server.http.callers import Looking, is_retry, server_of
from batch.workspace.listing import Query

AccountId = Annotated[str, Path(description="The account; `-` is that of the key.")]
OwnId = Annotated[str, Path(description="An id, or a full name.")]


async def _call(request: Request, caller: Looking) -> Call:
    base_url = str(request.base_url).rstrip("/")
    return Call(server_of(request), caller, request.app.state.why_waiting, base_url, is_retry(request))


Called = Annotated[Call, Depends(_call)]


def asked(
    filter: Annotated[str, Parameter(description='AIP-160, such as state="READY".')] = "",  # noqa: A002
    orderBy: Annotated[str, Parameter()] = "",  # noqa: N803 - the name on the wire
    pageSize: Annotated[int, Parameter(ge=0)] = 0,  # noqa: N803
    pageToken: Annotated[str, Parameter()] = "",  # noqa: N803
) -> Query:
    """What is asked of a list."""
    return Query(filter, orderBy, pageSize, pageToken)
