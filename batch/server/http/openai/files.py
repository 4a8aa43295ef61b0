"""`/v1/files`: create, list, retrieve, content, delete."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response, StreamingResponse

from batch.server.files.outputs import OutputFile, is_output_id
from batch.server.files.uploaded import Description, UploadedFile
from batch.server.http.callers import Changing, Looking, is_retry, server_of, tenant_of
from batch.server.http.downloads import download
from batch.server.http.errors import OPENAI_FAILURES
from batch.server.http.forms import Form, chunks_of, one_of_the_uploads
from batch.server.http.openai.objects import (
    OUTPUT_PURPOSE,
    PURPOSE,
    error_line,
    file_object,
    output_name,
    output_object,
    page,
)
from batch.server.quotas import check_bytes
from batch.server.refusal import invalid
from batch.server.tenant import Tenant

router = APIRouter(prefix="/v1/files", tags=["files"], responses=OPENAI_FAILURES)

SHORTEST_LIFE_S, LONGEST_LIFE_S = 3600, 2_592_000
_CREATED_AT = "created_at"
Json = dict[str, Any]


@router.post("")
async def create_file(request: Request, caller: Changing) -> Json:
    """Take a file: a form with `purpose`, `file`, and maybe `expires_after[anchor]` and `expires_after[seconds]`."""
    with one_of_the_uploads(request):
        form = Form(request.headers.get("content-type", ""), chunks_of(request), "file")

        def receive() -> UploadedFile:
            server, tenant = server_of(request), tenant_of(request, caller)
            account = server.account(tenant)
            check_bytes(account, tenant, more_bytes=int(request.headers.get("content-length", "0")))

            def describe() -> Description:
                return _description(form)

            return tenant.files.receive(form.file(), describe, is_retry=is_retry(request))

        return file_object(await to_thread.run_sync(receive))


@router.get("")
def list_files(
    request: Request,
    caller: Looking,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> Json:
    """The files that were uploaded and those that jobs wrote."""
    tenant = tenant_of(request, caller)
    found: list[UploadedFile | OutputFile] = [file for file in tenant.files.all() if purpose in (None, file.purpose)]
    found += tenant.outputs.all() if purpose in (None, OUTPUT_PURPOSE) else []
    return page(
        found,
        lambda file: (file.created_at, file.file_id),
        _shown,
        after=after,
        limit=limit,
        newest_first=order == "desc",
    )


@router.get("/{file_id}")
def retrieve_file(request: Request, caller: Looking, file_id: str) -> Json:
    """One file."""
    return _shown(_found(tenant_of(request, caller), file_id))


@router.delete("/{file_id}")
def delete_file(request: Request, caller: Changing, file_id: str) -> Json:
    """Delete a file. A job that reads it goes on to its end."""
    tenant = tenant_of(request, caller)
    if is_output_id(file_id):
        tenant.outputs.delete(file_id)
    else:
        tenant.files.delete(file_id, is_in_use=bool(tenant.uses(file_id)))
    return {"id": file_id, "object": "file", "deleted": True}


@router.api_route("/{file_id}/content", methods=["GET", "HEAD"], response_class=Response)
def file_content(request: Request, caller: Looking, file_id: str) -> Response:
    """The bytes of a file, or a range of them; of errors, the lines as OpenAI has them."""
    tenant = tenant_of(request, caller)
    found = _found(tenant, file_id)
    if isinstance(found, UploadedFile):
        return download(
            request,
            lambda start, end: tenant.files.read(found, start, end),
            size_bytes=found.size_bytes,
            etag=found.sha256,
            filename=found.filename,
        )
    output = found.output
    if output.kind == "errors":
        return StreamingResponse(_error_lines(found), media_type="application/octet-stream")
    return download(request, output.read, size_bytes=output.size_bytes, etag=output.digest, filename=output_name(found))


def life_s(anchor: str | None, seconds: str | int | None, param: str) -> int | None:
    """How long something is kept; None: for good. Refused: out of OpenAI's bounds."""
    if anchor is None and seconds is None:
        return None
    if anchor != _CREATED_AT:
        raise invalid(f"{param}.anchor", f"Invalid value: {anchor!r}. Supported: '{_CREATED_AT}'.")
    if not str(seconds).isdigit() or not SHORTEST_LIFE_S <= int(str(seconds)) <= LONGEST_LIFE_S:
        raise invalid(f"{param}.seconds", f"Invalid value: {seconds!r}. From {SHORTEST_LIFE_S} to {LONGEST_LIFE_S}.")
    return int(str(seconds))


def checked_purpose(purpose: str | None) -> str:
    """The purpose. Refused: none, or one that this server has no use for."""
    if purpose is None:
        raise invalid("purpose", "Missing required parameter: 'purpose'.", "missing_required_parameter")
    if purpose != PURPOSE:
        raise invalid("purpose", f"Invalid value: {purpose!r}. This server keeps files for batches: '{PURPOSE}'.")
    return purpose


def _description(form: Form) -> Description:
    purpose = checked_purpose(form.fields.get("purpose"))
    if form.filename is None:
        raise invalid("file", "Missing required parameter: 'file'.", "missing_required_parameter")
    life = life_s(form.fields.get("expires_after[anchor]"), form.fields.get("expires_after[seconds]"), "expires_after")
    return Description(form.filename, purpose, life)


def _found(tenant: Tenant, file_id: str) -> UploadedFile | OutputFile:
    return tenant.outputs.get(file_id) if is_output_id(file_id) else tenant.files.get(file_id)


def _shown(file: UploadedFile | OutputFile) -> Json:
    return file_object(file) if isinstance(file, UploadedFile) else output_object(file)


def _error_lines(file: OutputFile) -> Iterator[bytes]:
    return (error_line(line) + b"\n" for line in file.output.lines())
