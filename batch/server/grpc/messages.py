"""The messages of the service `gateway.Gateway`, as far as the Build SDK's batch calls need them.

Field names and numbers are those of the client's own messages (fireworks-ai 0.19.20). Both sides pass over fields that
are not here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, empty_pb2, message_factory, timestamp_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto

SERVICE = "gateway.Gateway"
_PACKAGE = "gateway"
_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "int64": FieldDescriptorProto.TYPE_INT64,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "bool": FieldDescriptorProto.TYPE_BOOL,
}

# Of a message, its fields: number, name, type. "?" before a type: it tells unset from zero; "*": repeated; "map": from
# string; a type with a capital letter is another message, or one of the enums below.
_MESSAGES: dict[str, list[tuple[int, str, str]]] = {
    "Status": [(1, "code", "Code"), (2, "message", "string")],
    "InferenceParameters": [
        (1, "max_tokens", "?int32"),
        (2, "temperature", "?float"),
        (3, "top_p", "?float"),
        (4, "n", "?int32"),
        (5, "extra_body", "string"),
        (6, "top_k", "?int32"),
    ],
    "JobProgress": [
        (1, "percent", "int32"),
        (4, "total_input_requests", "int32"),
        (5, "total_processed_requests", "int32"),
        (6, "successfully_processed_requests", "int32"),
        (7, "failed_requests", "int32"),
        (8, "output_rows", "int32"),
        (9, "input_tokens", "int32"),
        (10, "output_tokens", "int32"),
    ],
    "BatchInferenceJob": [
        (1, "name", "string"),
        (2, "display_name", "string"),
        (3, "create_time", "Timestamp"),
        (4, "expire_time", "Timestamp"),
        (5, "created_by", "string"),
        (6, "state", "JobState"),
        (7, "status", "Status"),
        (8, "model", "string"),
        (9, "input_dataset_id", "string"),
        (10, "output_dataset_id", "string"),
        (12, "inference_parameters", "InferenceParameters"),
        (13, "update_time", "Timestamp"),
        (22, "job_progress", "JobProgress"),
        (23, "priority", "int32"),
        (27, "continued_from_job_name", "string"),
    ],
    "CreateBatchInferenceJobRequest": [
        (1, "parent", "string"),
        (2, "batch_inference_job", "BatchInferenceJob"),
        (3, "batch_inference_job_id", "string"),
    ],
    "GetBatchInferenceJobRequest": [(1, "name", "string")],
    "DeleteBatchInferenceJobRequest": [(1, "name", "string")],
    "ListBatchInferenceJobsRequest": [
        (1, "parent", "string"),
        (2, "page_size", "int32"),
        (3, "page_token", "string"),
        (4, "filter", "string"),
        (5, "order_by", "string"),
    ],
    "ListBatchInferenceJobsResponse": [
        (1, "batch_inference_jobs", "*BatchInferenceJob"),
        (2, "next_page_token", "string"),
        (3, "total_size", "int32"),
    ],
    "UserUploaded": [],
    "Dataset": [
        (1, "name", "string"),
        (2, "display_name", "string"),
        (3, "create_time", "Timestamp"),
        (4, "state", "DatasetState"),
        (6, "status", "Status"),
        (7, "example_count", "int64"),
        (11, "user_uploaded", "UserUploaded"),
        (14, "created_by", "string"),
        (16, "external_url", "string"),
        (17, "update_time", "Timestamp"),
        (21, "source_job_name", "string"),
    ],
    "CreateDatasetRequest": [(1, "parent", "string"), (2, "dataset", "Dataset"), (3, "dataset_id", "string")],
    "GetDatasetRequest": [(1, "name", "string")],
    "DeleteDatasetRequest": [(1, "name", "string")],
    "ListDatasetsRequest": [
        (1, "parent", "string"),
        (2, "page_size", "int32"),
        (3, "page_token", "string"),
        (4, "filter", "string"),
        (5, "order_by", "string"),
    ],
    "ListDatasetsResponse": [
        (1, "datasets", "*Dataset"),
        (2, "next_page_token", "string"),
        (3, "total_size", "int32"),
    ],
    "GetDatasetUploadEndpointRequest": [(1, "name", "string"), (2, "filename_to_size", "map int64")],
    "GetDatasetUploadEndpointResponse": [(1, "filename_to_signed_urls", "map string")],
    "GetDatasetDownloadEndpointRequest": [(1, "name", "string"), (3, "download_lineage", "bool")],
    "GetDatasetDownloadEndpointResponse": [(1, "filename_to_signed_urls", "map string")],
    "ValidateDatasetUploadRequest": [(1, "name", "string")],
}
_JOB_STATES = {
    "UNSPECIFIED": 0,
    "CREATING": 1,
    "RUNNING": 2,
    "COMPLETED": 3,
    "FAILED": 4,
    "CANCELLED": 5,
    "DELETING": 6,
    "WRITING_RESULTS": 7,
    "VALIDATING": 8,
    "PENDING": 14,
    "EXPIRED": 16,
}
_ENUMS: dict[str, dict[str, int]] = {
    "JobState": {f"JOB_STATE_{name}": number for name, number in _JOB_STATES.items()},
    "DatasetState": {"STATE_UNSPECIFIED": 0, "UPLOADING": 1, "READY": 2},
    "Code": {"OK": 0, "INVALID_ARGUMENT": 3},
}
METHODS: dict[str, tuple[str, str]] = {
    "CreateBatchInferenceJob": ("CreateBatchInferenceJobRequest", "BatchInferenceJob"),
    "GetBatchInferenceJob": ("GetBatchInferenceJobRequest", "BatchInferenceJob"),
    "ListBatchInferenceJobs": ("ListBatchInferenceJobsRequest", "ListBatchInferenceJobsResponse"),
    "DeleteBatchInferenceJob": ("DeleteBatchInferenceJobRequest", "Empty"),
    "CreateDataset": ("CreateDatasetRequest", "Dataset"),
    "GetDataset": ("GetDatasetRequest", "Dataset"),
    "ListDatasets": ("ListDatasetsRequest", "ListDatasetsResponse"),
    "DeleteDataset": ("DeleteDatasetRequest", "Empty"),
    "GetDatasetUploadEndpoint": ("GetDatasetUploadEndpointRequest", "GetDatasetUploadEndpointResponse"),
    "ValidateDatasetUpload": ("ValidateDatasetUploadRequest", "Empty"),
    "GetDatasetDownloadEndpoint": ("GetDatasetDownloadEndpointRequest", "GetDatasetDownloadEndpointResponse"),
}
"""Of a method, its request and its answer."""


def message_classes() -> dict[str, Any]:
    """The class of every message, by its name."""
    file = descriptor_pb2.FileDescriptorProto(name="batchctl/gateway.proto", package=_PACKAGE, syntax="proto3")
    file.dependency.append(timestamp_pb2.DESCRIPTOR.name)
    for name, values in _ENUMS.items():
        _add_enum(file, name, values)
    for name, fields in _MESSAGES.items():
        _add_message(file, name, fields)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(each) for name, each in found.items()} | {"Empty": empty_pb2.Empty}


def _add_enum(file: Any, name: str, values: dict[str, int]) -> None:
    # The values of an enum stand beside it in its scope: each has its own.
    holder = file.message_type.add(name=f"{name}s")
    enum = holder.enum_type.add(name=name)
    for label, number in values.items():
        enum.value.add(name=label, number=number)


def _add_message(file: Any, name: str, fields: Iterable[tuple[int, str, str]]) -> None:
    message = file.message_type.add(name=name)
    for number, label, written in fields:
        kind = written.lstrip("?*").removeprefix("map ")
        is_map = written.startswith("map ")
        field = message.field.add(name=label, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        if is_map:
            _add_map_entry(message, label, kind)
            kind = f"{name}.{_entry_name(label)}"
        if is_map or written.startswith("*"):
            field.label = FieldDescriptorProto.LABEL_REPEATED
        _set_type(field, kind)
        if written.startswith("?"):
            field.proto3_optional = True
            field.oneof_index = len(message.oneof_decl)
            message.oneof_decl.add(name=f"_{label}")


def _add_map_entry(message: Any, label: str, kind: str) -> None:
    entry = message.nested_type.add(name=_entry_name(label))
    entry.options.map_entry = True
    for number, (own_label, own_kind) in enumerate((("key", "string"), ("value", kind)), start=1):
        field = entry.field.add(name=own_label, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
        _set_type(field, own_kind)


def _set_type(field: Any, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    elif kind in _ENUMS:
        field.type, field.type_name = FieldDescriptorProto.TYPE_ENUM, f".{_PACKAGE}.{kind}s.{kind}"
    elif kind == "Timestamp":
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, ".google.protobuf.Timestamp"
    else:
        field.type, field.type_name = FieldDescriptorProto.TYPE_MESSAGE, f".{_PACKAGE}.{kind}"


def _entry_name(label: str) -> str:
    return "".join(word.capitalize() for word in label.split("_")) + "Entry"
