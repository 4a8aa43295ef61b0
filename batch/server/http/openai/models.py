"""`/v1/models`: what a row may ask for."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request

from batch.server.http.callers import Looking, server_of
from batch.server.http.errors import OPENAI_FAILURES
from batch.server.http.openai.objects import model_object
from batch.server.refusal import Refused

router = APIRouter(prefix="/v1/models", tags=["models"], responses=OPENAI_FAILURES)


@router.get("")
def list_models(request: Request, caller: Looking) -> dict[str, Any]:  # noqa: ARG001 - a key is asked for
    """The registered models."""
    return {"object": "list", "data": [model_object(model) for model in server_of(request).models.list()]}


@router.get("/{model}")
def retrieve_model(request: Request, caller: Looking, model: str) -> dict[str, Any]:  # noqa: ARG001
    """One of them."""
    found = server_of(request).models.get(model)
    if found is None:
        message = f"The model {model!r} does not exist."
        raise Refused(HTTPStatus.NOT_FOUND, "model_not_found", message, param="model")
    return model_object(found)
