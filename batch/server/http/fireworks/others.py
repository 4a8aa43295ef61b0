"""What else Fireworks' clients ask for: accounts, models, whose a key is; and what is not built, told in a sentence."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from batch.server.fireworks.objects import Json, model_object
from batch.server.http.errors import FIREWORKS_FAILURES
from batch.server.http.fireworks.calls import AccountId, Called
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
    "secrets",
    "quotas",
)


@router.get("/verifyApiKey")
def verify_api_key(call: Called) -> JSONResponse:
    """Whose a key is, in the header that the Build SDK reads."""
    return JSONResponse({}, headers={"x-fireworks-account-id": call.caller.account_id})


@router.get("/v1/accounts")
def list_accounts(call: Called) -> Json:
    """The caller's account."""
    return {"accounts": [_account(call.caller.account_id)], "nextPageToken": "", "totalSize": 1}


@router.get("/v1/accounts/{account_id}")
def get_account(call: Called, account_id: AccountId) -> Json:
    """The caller's account."""
    return _account(call.tenant(account_id).account_id)


@router.get("/v1/accounts/{account_id}/models")
def list_models(call: Called, account_id: AccountId) -> Json:
    """The registered models, which are every account's."""
    workspace = call.tenant(account_id).workspace
    models = [model_object(model, workspace) for model in call.server.models.list()]
    return {"models": models, "nextPageToken": "", "totalSize": len(models)}


@router.get("/v1/accounts/{account_id}/models/{name}")
def get_model(call: Called, account_id: AccountId, name: str) -> Json:
    """One of them."""
    workspace = call.tenant(account_id).workspace
    model = call.server.models.get(name)
    if model is None:
        raise not_there("model", name)
    return model_object(model, workspace)


@router.api_route(
    "/v1/accounts/{account_id}/{collection}{rest:path}",
    methods=["GET", "POST", "PATCH", "DELETE"],
    include_in_schema=False,
)
def not_built(call: Called, account_id: AccountId, collection: str, rest: str) -> Json:  # noqa: ARG001
    """What this server does not have."""
    call.tenant(account_id)
    if collection in UNBUILT:
        message = f"This server has no {collection}; an admin registers models with `batchctl create model`."
        raise Refused(HTTPStatus.NOT_IMPLEMENTED, "not_implemented", message, may_retry=False)
    raise not_there("collection", collection)


def _account(account_id: str) -> Json:
    return {"name": f"accounts/{account_id}", "displayName": account_id, "state": "READY"}
