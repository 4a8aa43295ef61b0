"""`/v1/uploads`: create, parts, complete, cancel."""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import BaseModel

from batch.clock import parse_rfc3339
from batch.server.files.uploaded import Description
from batch.server.files.uploads import Standing
from batch.server.http.callers import Changing, is_retry, server_of, tenant_of
from batch.server.http.errors import OPENAI_FAILURES
from batch.server.http.forms import Form, chunks_of, one_of_the_uploads
from batch.server.http.openai.batches import ExpiresAfter
from batch.server.http.openai.files import checked_purpose, life_s
from batch.server.http.openai.objects import file_object
from batch.server.quotas import check_bytes

router = APIRouter(prefix="/v1/uploads", tags=["uploads"], responses=OPENAI_FAILURES)

PART_BYTES = 64 << 20
Json = dict[str, Any]


class CreateUpload(BaseModel):
    """The body of a create."""

    bytes: int
    filename: str
    mime_type: str
    purpose: str
    expires_after: ExpiresAfter | None = None


class CompleteUpload(BaseModel):
    """The body of a complete."""

    part_ids: list[str]
    md5: str | None = None


@router.post("")
def create_upload(request: Request, caller: Changing, body: CreateUpload) -> Json:
    """Begin an upload of a file in parts."""
    expiry = body.expires_after
    life = life_s(expiry.anchor, expiry.seconds, "expires_after") if expiry else None
    told = Description(body.filename, checked_purpose(body.purpose), life)
    tenant = tenant_of(request, caller)
    check_bytes(server_of(request).account(tenant), tenant, more_bytes=body.bytes)
    return _shown(tenant.uploads.create(told, size_bytes=body.bytes, mime_type=body.mime_type))


@router.post("/{upload_id}/parts")
async def add_part(request: Request, caller: Changing, upload_id: str) -> Json:
    """Take a part: a form with `data`."""
    with one_of_the_uploads(request):
        form = Form(request.headers.get("content-type", ""), chunks_of(request), "data")

        def add() -> Json:
            uploads = tenant_of(request, caller).uploads
            created_at = _seconds(uploads.get(upload_id).upload.created_at)
            part_id = uploads.add_part(upload_id, form.file())
            return {"id": part_id, "object": "upload.part", "created_at": created_at, "upload_id": upload_id}

        return await to_thread.run_sync(add)


@router.post("/{upload_id}/complete")
def complete_upload(request: Request, caller: Changing, upload_id: str, body: CompleteUpload) -> Json:
    """Make a file of the parts, in the order of their ids here."""
    uploads = tenant_of(request, caller).uploads
    return _shown(uploads.complete(upload_id, body.part_ids, md5=body.md5, is_retry=is_retry(request)))


@router.post("/{upload_id}/cancel")
def cancel_upload(request: Request, caller: Changing, upload_id: str) -> Json:
    """Forget an upload."""
    return _shown(tenant_of(request, caller).uploads.cancel(upload_id))


def _shown(standing: Standing) -> Json:
    upload = standing.upload
    return {
        "id": upload.upload_id,
        "object": "upload",
        "bytes": upload.size_bytes,
        "created_at": _seconds(upload.created_at),
        "expires_at": _seconds(upload.expires_at),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": standing.status.value,
        "file": file_object(standing.file) if standing.file is not None else None,
    }


def _seconds(at: str) -> int:
    return int(parse_rfc3339(at).timestamp())
