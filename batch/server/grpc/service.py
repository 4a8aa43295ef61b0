"""The methods of the service: from a message to a call, and from its answer or refusal to the wire."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from pydantic import ValidationError

from batch.errors import BatchError
from batch.server.access import ANYBODY, caller_of
from batch.server.failures import meaning, scrubbed
from batch.server.fireworks import datasets, jobs
from batch.server.fireworks.call import Call, WhyWaiting
from batch.server.fireworks.objects import RESULTS_NAME, Json
from batch.server.grpc.messages import METHODS, SERVICE, message_classes
from batch.server.refusal import Refused
from batch.server.server import BatchServer
from batch.workspace.listing import Query
from connectors.errors import InputError, StoreError

logger = logging.getLogger(__name__)

THREADS = 16
MAX_MESSAGE_BYTES = 4 << 20
_STATUSES = {
    HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
    HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.CONFLICT: grpc.StatusCode.ALREADY_EXISTS,
    HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
}
Handler = Callable[[Call, Json], Json]


def grpc_server(
    server: BatchServer, address: str, *, base_url: str, asks_for_keys: bool, why_waiting: WhyWaiting
) -> grpc.Server:
    """A server that listens when it is started. `base_url`: of the HTTP face. OSError: the address is taken."""
    service = _Service(server, base_url, asks_for_keys, why_waiting)
    door = grpc.server(
        ThreadPoolExecutor(THREADS, "grpc"),
        options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)],
    )
    door.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, service.handlers()),))
    try:
        bound = door.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from None
    if not bound:
        raise OSError(f"gRPC cannot listen on {address}: it is taken")
    return door


class _Service:
    """The methods of the table, over one server."""

    def __init__(self, server: BatchServer, base_url: str, asks_for_keys: bool, why_waiting: WhyWaiting) -> None:
        self._server = server
        self._base_url = base_url
        self._asks_for_keys = asks_for_keys
        self._why_waiting = why_waiting

    def handlers(self) -> dict[str, grpc.RpcMethodHandler]:
        """Of every method, what reads its request, does it, and writes its answer."""
        classes = message_classes()
        return {
            name: grpc.unary_unary_rpc_method_handler(
                self._method(_HANDLERS[name], classes[answer]),
                request_deserializer=classes[request].FromString,
                response_serializer=lambda message: message.SerializeToString(),
            )
            for name, (request, answer) in METHODS.items()
        }

    def _method(self, handler: Handler, answer: Any) -> Callable[[Any, grpc.ServicerContext], Any]:
        def method(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                done = handler(self._call(context), MessageToDict(request))
                return ParseDict(_without_nulls(done), answer(), ignore_unknown_fields=True)
            except (Refused, BatchError, StoreError, InputError, ValidationError) as error:
                self._refuse(context, meaning(error))
            except Exception as error:
                logger.exception("a gRPC call failed")
                self._refuse(context, meaning(error))

        return method

    def _call(self, context: grpc.ServicerContext) -> Call:
        told = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        secret = told.get("x-api-key") or told.get("authorization", "").removeprefix("Bearer ")
        caller = caller_of(self._server.keys, secret) if self._asks_for_keys else ANYBODY
        return Call(self._server, caller, self._why_waiting, self._base_url)

    def _refuse(self, context: grpc.ServicerContext, refused: Refused) -> None:
        status = _STATUSES.get(refused.status, grpc.StatusCode.INTERNAL)
        if refused.code == "failed_precondition":
            status = grpc.StatusCode.FAILED_PRECONDITION
        context.abort(status, scrubbed(refused.message, self._server.places))


def _account(name: str) -> str:
    """The account of a full name or a parent."""
    return name.split("/")[1] if name.startswith("accounts/") and name.count("/") else "-"


def _query(asked: Json) -> Query:
    return Query(
        asked.get("filter", ""), asked.get("orderBy", ""), asked.get("pageSize", 0), asked.get("pageToken", "")
    )


def _create_job(call: Call, asked: Json) -> Json:
    body = jobs.CreateJob.model_validate(asked.get("batchInferenceJob", {}))
    return jobs.create_job(call, _account(asked.get("parent", "")), body, asked.get("batchInferenceJobId", ""))


def _create_dataset(call: Call, asked: Json) -> Json:
    body = datasets.CreateDataset.model_validate(asked)
    return datasets.create_dataset(call, _account(asked.get("parent", "")), body)


def _upload_endpoint(call: Call, asked: Json) -> Json:
    name, body = asked.get("name", ""), datasets.UploadEndpoint.model_validate(asked)
    return datasets.upload_endpoint(call, _account(name), name, body)


def _download_endpoint(call: Call, asked: Json) -> Json:
    """Of a job's output the results alone: the SDK reads the first entry of a map, whose order nobody promises."""
    name, with_lineage = asked.get("name", ""), asked.get("downloadLineage", False)
    found = datasets.download_endpoint(call, _account(name), name, with_lineage=with_lineage)["filenameToSignedUrls"]
    results = {name: address for name, address in found.items() if name.endswith(f"/{RESULTS_NAME}")}
    return {"filenameToSignedUrls": results or found}


def _of_name(do: Callable[[Call, str, str], Json]) -> Handler:
    """Of a method that is asked with a name and no more."""
    return lambda call, asked: do(call, _account(asked.get("name", "")), asked.get("name", ""))


def _of_parent(do: Callable[[Call, str, Query], Json]) -> Handler:
    """Of a list."""
    return lambda call, asked: do(call, _account(asked.get("parent", "")), _query(asked))


_HANDLERS: dict[str, Handler] = {
    "CreateBatchInferenceJob": _create_job,
    "GetBatchInferenceJob": _of_name(jobs.get_job),
    "ListBatchInferenceJobs": _of_parent(jobs.list_jobs),
    "DeleteBatchInferenceJob": _of_name(jobs.delete_job),
    "CreateDataset": _create_dataset,
    "GetDataset": _of_name(datasets.get_dataset),
    "ListDatasets": _of_parent(datasets.list_datasets),
    "DeleteDataset": _of_name(datasets.delete_dataset),
    "GetDatasetUploadEndpoint": _upload_endpoint,
    "ValidateDatasetUpload": _of_name(datasets.validate_upload),
    "GetDatasetDownloadEndpoint": _download_endpoint,
}


def _without_nulls(value: Any) -> Any:
    """The same without what is null, which a message leaves out."""
    if isinstance(value, dict):
        return {name: _without_nulls(each) for name, each in value.items() if each is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value
