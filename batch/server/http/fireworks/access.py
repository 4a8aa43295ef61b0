"""Whose resources a path of Fireworks' names, and pages of lists. Knows no route."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Path, Request
from fastapi import Query as Parameter

from batch.errors import UsageError
from batch.server.http.callers import Caller, tenant_of
from batch.server.refusal import not_there
from batch.server.tenant import Tenant
from batch.workspace.listing import Query

AccountId = Annotated[str, Path(description="The account; `-` is that of the key.")]
OwnId = Annotated[str, Path(description="An id, or a full name.")]


def own_tenant(request: Request, caller: Caller, account_id: str) -> Tenant:
    """The account of the path, which has to be the caller's: another one is not there."""
    if account_id not in ("-", caller.account_id):
        raise not_there("account", account_id)
    return tenant_of(request, caller)


def bare_id(tenant: Tenant, collection: Literal["datasets", "batchInferenceJobs"], given: str) -> str:
    """The id in an id or a full name. Refused: there can be none such."""
    try:
        return tenant.workspace.bare_id(collection, given)
    except UsageError:
        raise not_there(collection.removesuffix("s"), given) from None


def asked(
    filter: Annotated[str, Parameter(description='AIP-160, such as state="READY".')] = "",  # noqa: A002
    orderBy: Annotated[str, Parameter()] = "",  # noqa: N803 - the name on the wire
    pageSize: Annotated[int, Parameter(ge=0)] = 0,  # noqa: N803
    pageToken: Annotated[str, Parameter()] = "",  # noqa: N803
) -> Query:
    """What is asked of a list."""
    return Query(filter, orderBy, pageSize, pageToken)
