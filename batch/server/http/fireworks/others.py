"""What else Fireworks' clients ask for: accounts, models, whose a key is; and what is not built, told in a sentence."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from batch.server.http.callers import Looking, server_of
from batch.server.http.errors import FIREWORKS_FAILURES
from batch.server.http.fireworks.access import AccountId, own_tenant
from batch.server.http.fireworks.objects import model_object
from batch.server.refusal import Refused, not_there

router = APIRouter(tags=["accounts"], responses=FIREWORKS_FAILURES)

UNBUILT = (
    "deployments",
    "deployedModels",
    "evaluators",
    "evaluationJobs",
    "supervisedFineTuningJobs",
    "reinforcementFineTuningJobs",
    "dpoJobs",
    "users",
    "secrets",
    "quotas",
)
Json = dict[str, Any]


@router.get("/verifyApiKey")
def verify_api_key(caller: Looking) -> JSONResponse:
    """Whose a key is, in the header that the Build SDK reads."""
    return JSONResponse({}, headers={"x-fireworks-account-id": caller.account_id})


@router.get("/v1/accounts")
def list_accounts(caller: Looking) -> Json:
    """The caller's account."""
    return {"accounts": [_account(caller.account_id)], "nextPageToken": "", "totalSize": 1}


@router.get("/v1/accounts/{account_id}")
def get_account(request: Request, caller: Looking, account_id: AccountId) -> Json:
    """The caller's account."""
    return _account(own_tenant(request, caller, account_id).account_id)


@router.get("/v1/accounts/{account_id}/models")
def list_models(request: Request, caller: Looking, account_id: AccountId) -> Json:
    """The registered models, which are every account's."""
    workspace = own_tenant(request, caller, account_id).workspace
    models = [model_object(model, workspace) for model in server_of(request).models.list()]
    return {"models": models, "nextPageToken": "", "totalSize": len(models)}


@router.get("/v1/accounts/{account_id}/models/{name}")
def get_model(request: Request, caller: Looking, account_id: AccountId, name: str) -> Json:
    """One of them."""
    workspace = own_tenant(request, caller, account_id).workspace
    model = server_of(request).models.get(name)
    if model is None:
        raise not_there("model", name)
    return model_object(model, workspace)


@router.api_route(
    "/v1/accounts/{account_id}/{collection}{rest:path}",
    methods=["GET", "POST", "PATCH", "DELETE"],
    include_in_schema=False,
)
def not_built(request: Request, caller: Looking, account_id: AccountId, collection: str, rest: str) -> Json:  # noqa: ARG001
    """What this server does not have."""
    own_tenant(request, caller, account_id)
    if collection in UNBUILT:
        message = f"This server has no {collection}; an admin registers models with `batchctl create model`."
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "not_implemented", message, may_retry=False)
    raise not_there("collection", collection)


def _account(account_id: str) -> Json:
    return {"name": f"accounts/{account_id}", "displayName": account_id, "state": "READY"}
