"""Files that come in parts: each part an object, joined to one file when the client says that all are there.

Knows no face.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from http import HTTPStatus

from batch.clock import Clock, parse_rfc3339, rfc3339
from batch.records.shelf import Shelf
from batch.server.files.uploaded import Description, Files, UploadedFile
from batch.server.ids import Ids, is_id
from batch.server.refusal import Refused, invalid, not_there
from connectors.stores.store import pieces

PREFIX = "upload_"
LIFE = timedelta(hours=1)


class UploadStatus(StrEnum):
    """What has become of an upload."""

    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that was begun: what it will be, and until when parts are taken."""

    upload_id: str
    filename: str
    purpose: str
    size_bytes: int
    mime_type: str
    created_at: str
    expires_at: str
    file_expires_after_s: int | None = None


@dataclass(frozen=True, slots=True)
class _End:
    """How an upload ended; `file_id` is empty for a cancelled one."""

    file_id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """An upload as it stands. `file`: what was made of it."""

    upload: Upload
    status: UploadStatus
    file: UploadedFile | None = None


class Uploads:
    """The uploads of one account. Refused: there is none, or it cannot do that any more."""

    def __init__(self, files: Files, shelf: Shelf, *, ids: Ids, clock: Clock, most_bytes: int) -> None:
        self._files = files
        self._shelf = shelf
        self._ids = ids
        self._clock = clock
        self._most_bytes = most_bytes

    def create(self, told: Description, *, size_bytes: int, mime_type: str) -> Standing:
        """Begin an upload of so many bytes."""
        if not 0 < size_bytes <= self._most_bytes:
            raise invalid("bytes", f"Invalid value: {size_bytes}. From 1 to {self._most_bytes:,} bytes.")
        now = self._clock.now()
        upload = Upload(
            upload_id=self._ids.new(PREFIX, now),
            filename=told.filename,
            purpose=told.purpose,
            size_bytes=size_bytes,
            mime_type=mime_type,
            created_at=rfc3339(now),
            expires_at=rfc3339(now + LIFE),
            file_expires_after_s=told.expires_after_s,
        )
        return Standing(self._shelf.create(_place(upload.upload_id), upload), UploadStatus.PENDING)

    def get(self, upload_id: str) -> Standing:
        """The upload."""
        upload = self._shelf.get(Upload, _place(upload_id)) if is_id(PREFIX, upload_id) else None
        if upload is None:
            raise not_there("upload", upload_id)
        end = self._shelf.get(_End, _end_place(upload_id))
        if end is not None and end.file_id:
            return Standing(upload, UploadStatus.COMPLETED, self._files.get(end.file_id))
        if end is not None:
            return Standing(upload, UploadStatus.CANCELLED)
        is_late = self._clock.now() >= parse_rfc3339(upload.expires_at)
        return Standing(upload, UploadStatus.EXPIRED if is_late else UploadStatus.PENDING)

    def add_part(self, upload_id: str, chunks: Iterable[bytes]) -> str:
        """Store a part; its id."""
        self._pending(upload_id)
        part_id = f"part_{secrets.token_hex(16)}"
        try:
            self._shelf.store.create_from(_part_place(upload_id, part_id), chunks)
        except ValueError:
            raise invalid("data", "The part is empty.") from None
        return part_id

    def complete(self, upload_id: str, part_ids: Sequence[str], *, md5: str | None, is_retry: bool) -> Standing:
        """Make a file of the parts in this order; the same again gives the same file."""
        standing = self.get(upload_id)
        if standing.file is not None:
            return standing
        upload = self._pending(upload_id).upload
        told = Description(upload.filename, upload.purpose, upload.file_expires_after_s)
        joined = self._joined(upload, part_ids, md5)
        file = self._files.receive(joined, lambda: told, is_retry=is_retry)
        end = self._shelf.create(_end_place(upload_id), _End(file.file_id))
        if end.file_id != file.file_id:  # somebody else was first
            self._files.delete(file.file_id, is_in_use=False)
        self.drop_parts(upload_id)
        return self.get(upload_id)

    def cancel(self, upload_id: str) -> Standing:
        """Take no more parts, and forget those that came."""
        if self.get(upload_id).status is not UploadStatus.CANCELLED:
            self._pending(upload_id)
            self._shelf.create(_end_place(upload_id), _End(""))
            self.drop_parts(upload_id)
        return self.get(upload_id)

    def _pending(self, upload_id: str) -> Standing:
        standing = self.get(upload_id)
        if standing.status is not UploadStatus.PENDING:
            message = f"Upload {upload_id} is {standing.status.value}; begin a new one."
            raise Refused(HTTPStatus.BAD_REQUEST, "invalid_value", message, param="upload_id")
        return standing

    def _joined(self, upload: Upload, part_ids: Sequence[str], md5: str | None) -> Iterator[bytes]:
        """The bytes of the parts, which have to be as many as were told, with the digest that was told."""
        store = self._shelf.store
        found = {key: store.head(key).size_bytes for key in store.keys(_parts_of(upload.upload_id))}
        keys = [_part_place(upload.upload_id, part_id) for part_id in part_ids]
        missing = [part_id for part_id, key in zip(part_ids, keys, strict=True) if key not in found]
        if missing:
            raise invalid("part_ids", f"No such part of this upload: {missing[0]}")
        size_bytes = sum(found[key] for key in keys)
        if size_bytes != upload.size_bytes:
            raise invalid(
                "part_ids", f"The parts have {size_bytes} bytes, the upload was begun with {upload.size_bytes}."
            )
        digest = hashlib.md5(usedforsecurity=False)
        for key in keys:
            for piece in pieces(store, key, 0, found[key]):
                digest.update(piece)
                yield piece
        if md5 is not None and md5.lower() != digest.hexdigest():
            raise invalid("md5", f"The parts have the MD5 {digest.hexdigest()}; one of them was damaged on its way.")

    def with_parts(self) -> list[str]:
        """The uploads whose parts still take space, by id."""
        keys = (key for key in self._shelf.keys("uploads/") if "/parts/" in key)
        return sorted({key.split("/")[1] for key in keys})

    def is_over(self, upload_id: str) -> bool:
        """Whether no part of it is wanted any more."""
        try:
            return self.get(upload_id).status is not UploadStatus.PENDING
        except Refused:  # the file that it made was deleted
            return True

    def drop_parts(self, upload_id: str) -> None:
        """Remove its parts. Absent is fine."""
        for key in list(self._shelf.keys(_parts_of(upload_id))):
            self._shelf.delete(key)


def _place(upload_id: str) -> str:
    return f"uploads/{upload_id}/upload.json"


def _end_place(upload_id: str) -> str:
    return f"uploads/{upload_id}/end.json"


def _parts_of(upload_id: str) -> str:
    return f"uploads/{upload_id}/parts/"


def _part_place(upload_id: str, part_id: str) -> str:
    if not is_id("part_", part_id):
        raise invalid("part_ids", f"No such part of this upload: {part_id}")
    return f"{_parts_of(upload_id)}{part_id}"
