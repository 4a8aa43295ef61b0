"""`/v1/blobs/{account}/{dataset}/{name}`: what signed addresses lead to. No key is asked for: the signature is one."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

from anyio import to_thread
from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from batch.layout import PartKind
from batch.server.files.outputs import output_of
from batch.server.fireworks.call import TRANSFERS
from batch.server.fireworks.objects import ERRORS_NAME, RESULTS_NAME, error_line, result_line
from batch.server.http.callers import server_of
from batch.server.http.downloads import download
from batch.server.http.errors import FIREWORKS_FAILURES
from batch.server.http.forms import chunks_of, one_of_the_uploads
from batch.server.refusal import Refused, invalid, not_there
from batch.server.tenant import Tenant

router = APIRouter(prefix=TRANSFERS, tags=["transfers"], responses=FIREWORKS_FAILURES)

_KINDS: dict[str, PartKind] = {RESULTS_NAME: "results", ERRORS_NAME: "errors"}


@router.put("/{account_id}/{dataset_id}/{name}")
async def put_file(  # noqa: PLR0913, PLR0917 - the parts of the address
    request: Request, account_id: str, dataset_id: str, name: str, size: int, exp: str, sig: str
) -> Response:
    """Take a file of exactly as many bytes as were told; the same again is fine."""
    with one_of_the_uploads(request):

        def receive() -> None:
            tenant = _allowed(request, "PUT", account_id, dataset_id, name, size, exp, sig)
            told = request.headers.get("content-length")
            if told is not None and told != str(size):
                raise invalid("size", f"The address takes {size} bytes, and {told} are on their way.")
            taken = tenant.drafts.receive(dataset_id, name, _exactly(chunks_of(request), size), size_bytes=size)
            assert taken == size

        await to_thread.run_sync(receive)
        return Response(status_code=HTTPStatus.OK)


@router.get("/{account_id}/{dataset_id}/{name}")
def get_file(  # noqa: PLR0913, PLR0917 - the parts of the address
    request: Request, account_id: str, dataset_id: str, name: str, size: int, exp: str, sig: str
) -> Response:
    """The bytes of a file; of a job's output, its lines as Fireworks has them."""
    tenant = _allowed(request, "GET", account_id, dataset_id, name, size, exp, sig)
    record = tenant.workspace.dataset(dataset_id)
    if record is None:
        raise not_there("dataset", dataset_id)
    if record.source_job_id:
        return StreamingResponse(_lines(tenant, record.source_job_id, name), media_type="application/octet-stream")

    def read(start: int, end: int) -> Iterator[bytes]:
        return tenant.workspace.read_file(dataset_id, name, start, end)

    return download(request, read, size_bytes=size, etag=f"{dataset_id}-{size}", filename=name)


def _allowed(  # noqa: PLR0913, PLR0917 - the parts of the address
    request: Request, method: str, account_id: str, dataset_id: str, name: str, size: int, expires: str, signature: str
) -> Tenant:
    server = server_of(request)
    words = (method, account_id, dataset_id, name, str(size))
    now = server.clock.now()
    if not expires.isdigit() or not server.signer.allows(*words, expires=expires, signature=signature, now=now):
        message = "The signature of this address is not valid, or has expired; ask for a new address."
        raise Refused(HTTPStatus.FORBIDDEN, "invalid_signature", message)
    return server.tenant(account_id)


def _exactly(chunks: Iterator[bytes], size_bytes: int) -> Iterator[bytes]:
    """The chunks, refused at their end when they were fewer bytes; more are refused where they are counted."""
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        yield chunk
    if taken != size_bytes:
        raise invalid("size", f"The address takes {size_bytes} bytes, and {taken} came.")


def _lines(tenant: Tenant, job_id: str, name: str) -> Iterator[bytes]:
    record = tenant.jobs.get(job_id)
    if name not in _KINDS or record is None:
        raise not_there("file", name)
    output = output_of(record, _KINDS[name])
    render = result_line if name == RESULTS_NAME else error_line
    return (render(line) + b"\n" for line in (output.lines() if output is not None else ()))
