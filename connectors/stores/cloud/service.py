"""What a store needs of a cloud service: a few requests, each made once. Knows no vendor, and nothing of retries."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from connectors.stores.store import ObjectInfo

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a request may take before it is given up, so that it can be tried again within the retry budget.

    connect_s to be connected, read_s of silence, and for a body of known size read_s plus its bytes at the slowest
    rate that is still taken for progress: a server that stops taking an upload is not silent, it never spoke.
    """

    connect_s: float = 5.0
    read_s: float = 20.0
    slowest_bytes_per_s: float = 256 << 10

    def whole_s(self, size_bytes: int) -> float:
        """The longest that a request with so many bytes may take."""
        return self.connect_s + self.read_s + size_bytes / self.slowest_bytes_per_s


class Page(NamedTuple):
    """Some objects of a listing, by their names in the bucket, and what to ask with for more; None after the last."""

    objects: tuple[ObjectInfo, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class Upload:
    """An object that is sent in parts. `token`: what the service names it by; `receipts`: of the parts so far."""

    bucket: str
    name: str
    token: str
    receipts: tuple[str, ...] = ()


class Service(Protocol):
    """Requests to one account. Raises what its client raises, for `cloud_errors.meaning`, and Changed."""

    def write(self, bucket: str, name: str, content: bytes, *, create: bool) -> bool:
        """Put; with create only if nothing stands there, which the service decides. False: something does."""

    def begin_upload(self, bucket: str, name: str) -> str | None:
        """Begin to create an object in parts; what to name the upload by. None: it is seen already that one stands."""

    def send_part(self, upload: Upload, content: bytes, *, is_last: bool) -> str | None:
        """Send the next part; its receipt, for the upload to carry on with. None: it is seen that an object stands.

        The same again is fine.
        """

    def finish_upload(self, upload: Upload) -> bool:
        """Let the parts be the object, if nothing stands there, which the service decides. False: something does."""

    def drop_upload(self, upload: Upload) -> None:
        """Forget an upload and its parts."""

    def read(self, bucket: str, name: str, *, span: tuple[int, int] | None = None, etag: str | None = None) -> bytes:
        """The object, or its bytes in [start, end), none past its end. With etag only of that version."""

    def head(self, bucket: str, name: str) -> ObjectInfo:
        """Size and version."""

    def list_page(self, bucket: str, prefix: str, token: str) -> Page:
        """A page of the objects whose names start with a text; an empty token asks for the first."""

    def delete(self, bucket: str, name: str) -> None:
        """Remove an object."""


def finish(loop: asyncio.AbstractEventLoop, request: Coroutine[Any, Any, T], limit_s: float | None = None) -> T:
    """Run a request on the client's own loop, which turns in another thread. Raises TimeoutError past the limit."""
    running = asyncio.run_coroutine_threadsafe(asyncio.wait_for(request, limit_s), loop)
    try:
        return running.result()
    finally:
        # An interrupted caller leaves no request behind; a finished one cannot be cancelled.
        running.cancel()
