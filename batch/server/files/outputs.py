"""What ended jobs wrote, each read as one file: its parts one after the other. Knows no face."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from batch.clock import Clock, parse_rfc3339, rfc3339
from batch.errors import JobFailed
from batch.layout import PartKind
from batch.records.objects import PART_KINDS, Part
from batch.records.shelf import Shelf
from batch.records.state import JobRecord
from batch.server.jobs.account_jobs import AccountJobs
from batch.server.jobs.submissions import Submissions
from batch.server.refusal import not_there
from connectors.errors import NotFound
from connectors.stores.registry import open_store
from connectors.stores.store import pieces

_PREFIXES: dict[PartKind, str] = {"results": "file-out-", "errors": "file-err-"}
_DELETED = "deleted/"


@dataclass(frozen=True, slots=True)
class Output:
    """The results or the errors of a job that has ended."""

    uri: str
    kind: PartKind
    parts: tuple[Part, ...]

    @property
    def size_bytes(self) -> int:
        """Of all parts."""
        return sum(part.bytes for part in self.parts)

    @property
    def digest(self) -> str:
        """The same for the same content."""
        return hashlib.sha256("".join(part.sha256 for part in self.parts).encode()).hexdigest()[:32]

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Bytes [start, end), piece by piece. JobFailed when a whole part is not what was committed."""
        store = open_store(self.uri)
        begins = 0
        for part in self.parts:
            first, last = max(start - begins, 0), min(end - begins, part.bytes)
            begins += part.bytes
            if first >= last:
                continue
            digest = hashlib.sha256()
            for piece in pieces(store, part.key, first, last):
                digest.update(piece)
                yield piece
            if last - first == part.bytes and digest.hexdigest() != part.sha256:
                raise JobFailed(f"{self.uri}/{part.key}: the bytes differ from the committed sha256 {part.sha256}")

    def lines(self) -> Iterator[bytes]:
        """Its lines without line breaks."""
        held = b""
        for piece in self.read(0, self.size_bytes):
            *lines, held = (held + piece).split(b"\n")
            yield from lines
        if held:
            yield held

    def is_there(self) -> bool:
        """Whether its last part is, which is deleted last."""
        try:
            open_store(self.uri).head(self.parts[-1].key)
        except NotFound:
            return False
        return True

    def delete(self) -> None:
        """Remove the parts; the ledger still names them."""
        store = open_store(self.uri)
        for part in self.parts:
            store.delete(part.key)


@dataclass(frozen=True, slots=True)
class OutputFile:
    """The results or the errors of a job, under the id of a file."""

    file_id: str
    output: Output
    created_at: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class _Deleted:
    """That an output was deleted, which its ledger still names."""

    deleted_at: str


class OutputFiles:
    """The outputs of one account's jobs. Refused: there is no such file, or it was deleted, or has expired."""

    def __init__(self, jobs: AccountJobs, submissions: Submissions, shelf: Shelf, clock: Clock) -> None:
        self._jobs = jobs
        self._submissions = submissions
        self._shelf = shelf
        self._clock = clock

    def get(self, file_id: str) -> OutputFile:
        """The output of that id."""
        found = self._find(file_id)
        if found is None or self._shelf.get(_Deleted, _tombstone(file_id)) is not None:
            raise not_there("File object", file_id)
        return found

    def all(self) -> list[OutputFile]:
        """Every output that can be read."""
        deleted = {key.removeprefix(_DELETED).removesuffix(".json") for key in self._shelf.keys(_DELETED)}
        found = [self._of(record, kind) for record in self._jobs.all() for kind in PART_KINDS]
        return [file for file in found if file is not None and file.file_id not in deleted]

    def delete(self, file_id: str) -> None:
        """Show the output to nobody any more, and remove its parts; the ledger of the job still names them."""
        output = self.get(file_id).output
        self._shelf.create(_tombstone(file_id), _Deleted(rfc3339(self._clock.now())))
        output.delete()

    def _find(self, file_id: str) -> OutputFile | None:
        for kind, prefix in _PREFIXES.items():
            job_id = file_id.removeprefix(prefix)
            if file_id.startswith(prefix) and job_id.replace("-", "").replace("_", "").isalnum():
                record = self._jobs.get(job_id)
                return None if record is None else self._of(record, kind)
        return None

    def _of(self, record: JobRecord, kind: PartKind) -> OutputFile | None:
        output = output_of(record, kind)
        if output is None or record.finished_at is None:
            return None
        end = self.expires_at(record)
        if end is not None and self._clock.now() >= end:
            return None
        return OutputFile(output_id(record.job_id, kind), output, record.finished_at, rfc3339(end) if end else "")

    def expires_at(self, record: JobRecord) -> datetime | None:
        """When the outputs of a job are shown to nobody any more; None: never, or it has not ended."""
        submission = self._submissions.get(record.job_id)
        if record.finished_at is None or submission is None or submission.output_ttl_s is None:
            return None
        return parse_rfc3339(record.finished_at) + timedelta(seconds=submission.output_ttl_s)


def is_output_id(file_id: str) -> bool:
    """Whether an id is one of a job's output."""
    return file_id.startswith(tuple(_PREFIXES.values()))


def output_id(job_id: str, kind: PartKind) -> str:
    """The id of the file that a job's results or errors are."""
    return _PREFIXES[kind] + job_id


def _tombstone(file_id: str) -> str:
    return f"{_DELETED}{file_id}.json"


def output_of(record: JobRecord, kind: PartKind) -> Output | None:
    """The results or errors of a job; None while it has not ended, and where it has none."""
    manifest = record.manifest
    parts = () if manifest is None else (manifest.results if kind == "results" else manifest.errors)
    return Output(record.spec.output, kind, parts) if parts else None
