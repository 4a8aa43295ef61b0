"""The files of an account: what was uploaded, each a dataset of the workspace under the file's id.

What a job wrote is no file of these: see `batch.server.files.outputs`. Knows no face.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from batch.clock import Clock, parse_rfc3339, rfc3339
from batch.records.shelf import Shelf
from batch.server.files.passing import Passing
from batch.server.ids import RETRIED_WITHIN, Ids, first_since, is_id
from batch.server.refusal import Refused, not_there
from batch.workspace.store import DatasetFile, DatasetRecord, Origin, Workspace

CONTENT = "content.jsonl"
PREFIX = "file-"
_FILES = "files/"


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """What is known of a file besides its bytes. `model`: the one that its first rows ask for; empty for none."""

    file_id: str
    filename: str
    purpose: str
    size_bytes: int
    lines: int
    sha256: str
    model: str
    created_at: str
    expires_at: str = ""

    def has_expired(self, now: datetime) -> bool:
        """Whether nobody gets it any more."""
        return bool(self.expires_at) and now >= parse_rfc3339(self.expires_at)


@dataclass(frozen=True, slots=True)
class Description:
    """What a client says of the file that it sends."""

    filename: str
    purpose: str
    expires_after_s: int | None = None


class Files:
    """The uploaded files of one account. Refused: there is no such file, or it cannot be taken."""

    def __init__(self, workspace: Workspace, shelf: Shelf, *, ids: Ids, clock: Clock, most_bytes: int) -> None:
        self._workspace = workspace
        self._shelf = shelf
        self._ids = ids
        self._clock = clock
        self._most_bytes = most_bytes
        self._known: dict[str, UploadedFile] = {}

    def receive(
        self, chunks: Iterable[bytes], describe: Callable[[], Description], *, is_retry: bool = False
    ) -> UploadedFile:
        """Store what comes, in bounded memory; what was told of it is asked for when all has come.

        A retry of an upload that was stored already gets that file.
        """
        passing = Passing(chunks, self._most_bytes)
        now = self._clock.now()
        file_id = self._ids.new(PREFIX, now)
        try:
            self._workspace.store_file(file_id, CONTENT, passing)
        except ValueError:
            describe()  # what is missing besides has to be told first
            raise Refused(HTTPStatus.BAD_REQUEST, "invalid_file", "The file is empty.", param="file") from None
        try:
            told = describe()
        except Refused:
            self._workspace.delete_dataset(file_id)
            raise
        expires_at = "" if told.expires_after_s is None else rfc3339(now + timedelta(seconds=told.expires_after_s))
        file = UploadedFile(
            file_id=file_id,
            filename=told.filename,
            purpose=told.purpose,
            size_bytes=passing.size_bytes,
            lines=passing.lines,
            sha256=passing.sha256,
            model=passing.model,
            created_at=rfc3339(now),
            expires_at=expires_at,
        )
        if is_retry and (standing := self._sent_before(file, now)) is not None:
            self._workspace.delete_dataset(file_id)
            return self._keep(standing)
        return self._keep(file)

    def get(self, file_id: str) -> UploadedFile:
        """The file. Refused also when it has expired."""
        # The store is asked each time: another server may have deleted it.
        file = self._shelf.get(UploadedFile, _place(file_id)) if is_id(PREFIX, file_id) else None
        if file is None or file.has_expired(self._clock.now()):
            raise not_there("File object", file_id)
        return file

    def all(self) -> list[UploadedFile]:
        """Every file that has not expired, the oldest first."""
        now = self._clock.now()
        return [file for file in self.kept() if not file.has_expired(now)]

    def kept(self) -> list[UploadedFile]:
        """Every file that was not deleted, expired ones too, the oldest first."""
        found = [self._remembered(key) for key in list(self._shelf.keys(_FILES))]
        return [file for file in found if file is not None]

    def forget(self, file_id: str) -> None:
        """Remove what is known of a file; its bytes stay. Absent is fine."""
        self._shelf.delete(_place(file_id))
        self._known.pop(_place(file_id), None)

    def delete(self, file_id: str, *, is_in_use: bool) -> None:
        """Show the file to nobody any more. Its bytes stay while a job that has not ended reads them."""
        self.get(file_id)
        self.forget(file_id)
        if not is_in_use:
            self._workspace.delete_dataset(file_id)

    def read(self, file: UploadedFile, start: int, end: int) -> Iterator[bytes]:
        """Bytes [start, end) of its content, piece by piece."""
        return self._workspace.read_file(file.file_id, CONTENT, start, end)

    def _keep(self, file: UploadedFile) -> UploadedFile:
        """The file that stands; the record first, by which a retry finds it, whatever is not done yet."""
        kept = self._shelf.create(_place(file.file_id), file)
        dataset = DatasetRecord(
            dataset_id=file.file_id,
            origin=Origin.STORED,
            created_at=file.created_at,
            created_by=self._workspace.account_id,
            display_name=file.filename,
            files=(DatasetFile(CONTENT, file.size_bytes),),
            rows=file.lines,
        )
        self._workspace.create_dataset(dataset)
        return kept

    def _sent_before(self, file: UploadedFile, now: datetime) -> UploadedFile | None:
        """The same content under the same name, sent a moment ago."""
        earliest = _place(first_since(PREFIX, now - RETRIED_WITHIN))
        recent = (self._remembered(key) for key in list(self._shelf.keys(_FILES)) if key >= earliest)
        return next((sent for sent in recent if sent is not None and _identity(sent) == _identity(file)), None)

    def _remembered(self, key: str) -> UploadedFile | None:
        """What stands at a key never changes."""
        if key not in self._known and (file := self._shelf.get(UploadedFile, key)) is not None:
            self._known[key] = file
        return self._known.get(key)


def _identity(file: UploadedFile) -> tuple[str, str, str]:
    return file.filename, file.purpose, file.sha256


def _place(file_id: str) -> str:
    return f"{_FILES}{file_id}.json"
