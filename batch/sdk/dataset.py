"""Datasets as the Build SDK names them: rows in memory, a file, a URI, or a dataset of a workspace.

Knows nothing of jobs, beyond reading the results of one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import orjson

from batch.clock import SystemClock, rfc3339
from batch.errors import JobNotFound, UsageError
from batch.jobs.store import JobStore
from batch.planning.input_files import find_inputs
from batch.sdk.open_workspace import open_workspace
from batch.workspace.store import DatasetFile, DatasetRecord, Origin, Workspace
from connectors.datasets.reader import scan
from connectors.uri import parse_pattern

IN_MEMORY_NAME = "inmemory.jsonl"
MAX_COPIED_BYTES = 2**30
MAX_ID_CHARACTERS = 64
MAX_LINE_BYTES = 10 * 2**20

_DIGEST_CHARACTERS = 16
_DIGEST_END = len("dataset-") + _DIGEST_CHARACTERS + len("-")
_NOT_IN_ID = re.compile(r"[^a-z0-9-]")


class Dataset:
    """Rows of JSON under an id that stands for their content. Made by the `from_...` methods; nothing is stored
    before `sync()`, which stores no content twice.
    """

    def __init__(self, record: DatasetRecord, workspace: Workspace, content: bytes | None = None) -> None:
        self._record = record
        self._workspace = workspace
        self._content = content

    @classmethod
    def from_list(cls, rows: Sequence[Mapping[str, Any]], *, workspace: str | Workspace | None = None) -> Self:
        """Each row becomes a line of JSON. UsageError for a row that JSON cannot hold."""
        try:
            lines = [orjson.dumps(row) + b"\n" for row in rows]
        except TypeError as error:
            raise UsageError(f"A row is not JSON: {error}.") from None
        return cls._of_content(b"".join(lines), IN_MEMORY_NAME, workspace)

    @classmethod
    def from_string(cls, text: str, *, workspace: str | Workspace | None = None) -> Self:
        """The text is JSON Lines; it is stored as it is."""
        return cls._of_content(text.encode(), IN_MEMORY_NAME, workspace)

    @classmethod
    def from_file(cls, path: str | Path, *, workspace: str | Workspace | None = None) -> Self:
        """A local .jsonl file of at most 1 GiB, read now and copied by `sync()`; `from_uri` copies nothing."""
        source = Path(path).expanduser()
        if source.suffix != ".jsonl":
            raise UsageError(f"{source}: expected a .jsonl file; Dataset.from_uri reads the other formats in place.")
        try:
            size_bytes = source.stat().st_size
            if size_bytes > MAX_COPIED_BYTES:
                raise UsageError(f"{source}: {size_bytes} bytes; above {MAX_COPIED_BYTES} use Dataset.from_uri.")
            return cls._of_content(source.read_bytes(), source.name, workspace)
        except OSError as error:
            raise UsageError(f"{source} cannot be read: {error.strerror}.") from None

    @classmethod
    def from_uri(cls, uri: str, *, workspace: str | Workspace | None = None) -> Self:
        """A file, folder or pattern in any store and format, read in place. BadUri."""
        canonical = str(parse_pattern(uri))
        dataset_id = _content_id(canonical.encode(), canonical.rstrip("/").rpartition("/")[2])
        record = DatasetRecord(dataset_id, Origin.EXTERNAL, created_at="", external_uri=canonical)
        return cls(record, open_workspace(workspace))

    @classmethod
    def from_id(cls, dataset_id: str, *, workspace: str | Workspace | None = None) -> Self:
        """A dataset of the workspace, by id or full name. UsageError when there is none."""
        opened = open_workspace(workspace)
        record = opened.dataset(opened.bare_id("datasets", dataset_id))
        if record is None:
            raise UsageError(f"There is no dataset {dataset_id!r} in {opened.uri}.")
        return cls(record, opened)

    @classmethod
    def _of_content(cls, content: bytes, file_name: str, workspace: str | Workspace | None) -> Self:
        if not content.strip():
            raise UsageError(f"{file_name} holds no rows.")
        record = DatasetRecord(
            dataset_id=_content_id(content, file_name),
            origin=Origin.STORED,
            created_at="",
            files=(DatasetFile(file_name, len(content)),),
            rows=sum(1 for line in content.split(b"\n") if line.strip()),
        )
        return cls(record, open_workspace(workspace), content)

    @property
    def id(self) -> str:
        """`dataset-<16 digits of the content's sha256>-<file name>`; after `sync()` that of the stored dataset."""
        return self._record.dataset_id

    @property
    def name(self) -> str:
        """`accounts/<account>/datasets/<id>`."""
        return self._workspace.full_name("datasets", self.id)

    @property
    def uri(self) -> str:
        """Where the files lie, or will after `sync()`."""
        return self._record.external_uri or self._workspace.dataset_uri(self.id)

    @property
    def record(self) -> DatasetRecord:
        """What the workspace knows of it; `created_at` is empty before `sync()`."""
        return self._record

    def sync(self) -> Self:
        """Make it a dataset of the workspace. The same content under another file name is found, not stored again."""
        if self._record.created_at:
            return self
        same_content = self._workspace.datasets(self.id[:_DIGEST_END])
        if same_content:
            self._record = same_content[0]
            return self
        files = {} if self._content is None else {self._record.files[0].name: self._content}
        now = rfc3339(SystemClock().now())
        stamped = replace(self._record, created_at=now, created_by=self._workspace.account_id)
        self._record = self._workspace.create_dataset(stamped, files)
        return self

    def delete(self, *, force: bool = False) -> None:
        """Remove it from the workspace, with the files that lie there. Absent is fine.

        UsageError where a job that has not ended reads or writes it, unless by `force`.
        """
        if not force:
            self._refuse_in_use()
        self._workspace.delete_dataset(self.id)
        self._record = replace(self._record, created_at="")

    def _refuse_in_use(self) -> None:
        for pointer in self._workspace.jobs():
            job_store = JobStore.open(pointer.output)
            try:
                spec = job_store.spec()
            except JobNotFound:  # its output was deleted
                continue
            uses = {spec.input_dataset_id: "reads", spec.output_dataset_id: "writes"}.get(self.id)
            if uses is not None and job_store.manifest() is None:
                raise UsageError(
                    f"Job {spec.job_id!r} {uses} dataset {self.id!r} and has not ended: cancel it first, or delete the "
                    "dataset all the same with --force."
                )

    def head(self, n: int = 5, as_dataset: bool = False) -> list[dict[str, Any]] | Dataset:
        """The first `n` rows, as a list or as a new dataset."""
        rows = list(islice(self, n))
        return Dataset.from_list(rows, workspace=self._workspace) if as_dataset else rows

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Every row, streamed. UsageError names the line that is no JSON object."""
        for place, line in self._lines():
            yield _row(place, line)

    def _lines(self) -> Iterator[tuple[str, bytes]]:
        """(place, line) of every line that is not blank."""
        if self._content is not None:
            numbered = enumerate(self._content.split(b"\n"), start=1)
            yield from ((f"{self._record.files[0].name}:{number}", line) for number, line in numbered if line.strip())
        elif self._record.origin is Origin.JOB:
            numbered = enumerate(JobStore.open(self.uri).lines("results"), start=1)
            yield from ((f"{self.uri}:{number}", line) for number, line in numbered)
        else:
            patterns = [self.uri] if self._record.external_uri else self._workspace.inputs_of(self.id)
            for file in find_inputs(patterns):
                for _, line in scan(file, max_line_bytes=MAX_LINE_BYTES):
                    if line.problem:
                        raise UsageError(f"{file.uri}:{line.number}: {line.problem}.")
                    if not line.is_blank:
                        yield f"{file.uri}:{line.number}", line.raw


def _row(place: str, line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{place}: not JSON ({error}).") from None
    if not isinstance(row, dict):
        raise UsageError(f"{place}: expected a JSON object.")
    return row


def _content_id(content: bytes, name: str) -> str:
    """The content decides; the name is there for people."""
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_CHARACTERS]
    return f"dataset-{digest}-{_NOT_IN_ID.sub('-', name.lower())}"[:MAX_ID_CHARACTERS]
