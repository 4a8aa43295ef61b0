"""Datasets that are made step by step: named first, then their files, and a dataset when all have come.

Knows no face.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from batch.records.shelf import Shelf
from batch.server.files.passing import Passing
from batch.server.refusal import Refused, invalid, not_there
from batch.workspace.store import DatasetFile, DatasetRecord, Origin, Workspace, checked_id

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._ -]{0,199}")
_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv")
_DRAFTS = "drafts/"


@dataclass(frozen=True, slots=True)
class Draft:
    """A dataset whose files are not all there. `sizes`: of each file that is to come, its bytes."""

    dataset_id: str
    created_at: str
    created_by: str
    display_name: str = ""
    rows: int | None = None
    sizes: dict[str, int] = field(default_factory=dict)


class Drafts:
    """The drafts of one account. Refused: there is none, or it cannot be so."""

    def __init__(self, workspace: Workspace, shelf: Shelf, most_bytes: int) -> None:
        self._workspace = workspace
        self._shelf = shelf
        self._most_bytes = most_bytes

    def create(self, draft: Draft) -> Draft:
        """Begin a dataset; the same again is fine."""
        taken = self._workspace.dataset(draft.dataset_id) is not None
        standing = draft if taken else self._shelf.create(_place(draft.dataset_id), draft)
        told = (draft.display_name, draft.rows)
        if taken or (standing.display_name, standing.rows) != told:
            message = f"Dataset {draft.dataset_id!r} exists already; use another id."
            raise Refused(HTTPStatus.CONFLICT, "already_exists", message, may_retry=False)
        return standing

    def get(self, dataset_id: str) -> Draft | None:
        """The draft; None when there is none."""
        return self._shelf.get(Draft, _place(dataset_id))

    def all(self) -> list[Draft]:
        """All of them, by id."""
        return list(self._shelf.all(Draft, _DRAFTS))

    def expect(self, dataset_id: str, sizes: dict[str, int]) -> Draft:
        """Say which files are to come, and no others."""
        draft = self._existing(dataset_id)
        for name, size_bytes in sizes.items():
            stored_name(name)
            if not 0 < size_bytes <= self._most_bytes:
                raise invalid(f"filenameToSize.{name}", f"{size_bytes} bytes: expected 1 to {self._most_bytes:,}.")
        expecting = replace(draft, sizes=sizes)
        self._shelf.put(_place(dataset_id), expecting)
        return expecting

    def receive(self, dataset_id: str, name: str, chunks: Iterable[bytes], *, size_bytes: int | None = None) -> int:
        """Store a file as it comes; its bytes. The same content again is fine, other content is refused."""
        own_name = stored_name(name)
        passing = Passing(chunks, self._most_bytes if size_bytes is None else size_bytes)
        try:
            is_new = self._workspace.store_file(dataset_id, own_name, passing)
        except ValueError:
            raise invalid(name, "The file is empty.", "invalid_file") from None
        if not is_new and self._digest(dataset_id, own_name) != passing.sha256:
            message = f"Dataset {dataset_id!r} has a file {name!r} already, with other content."
            raise Refused(HTTPStatus.CONFLICT, "already_exists", message, may_retry=False)
        return passing.size_bytes

    def finish(self, dataset_id: str) -> DatasetRecord:
        """Make the dataset, of the files that were to come; of one that is made already, that one."""
        draft = self.get(dataset_id)
        if draft is None:
            standing = self._workspace.dataset(dataset_id)
            if standing is None:
                raise not_there("dataset", dataset_id)
            return standing
        if not draft.sizes:
            raise _not_ready(f"Dataset {dataset_id!r} has no files yet; upload them first.")
        for name, size_bytes in draft.sizes.items():
            found = self._workspace.file_size(dataset_id, stored_name(name))
            if found != size_bytes:
                told = "has not come" if found is None else f"has {found} bytes"
                raise _not_ready(f"{name}: {told}, of {size_bytes} that were told.")
        record = self._workspace.create_dataset(
            DatasetRecord(
                dataset_id=dataset_id,
                origin=Origin.STORED,
                created_at=draft.created_at,
                created_by=draft.created_by,
                display_name=draft.display_name,
                files=tuple(DatasetFile(stored_name(name), size) for name, size in draft.sizes.items()),
                rows=draft.rows,
            )
        )
        self._shelf.delete(_place(dataset_id))
        return record

    def delete(self, dataset_id: str) -> None:
        """Forget a draft, with the files that came. Absent is fine."""
        if self.get(dataset_id) is not None:
            self._shelf.delete(_place(dataset_id))
            self._workspace.delete_dataset(dataset_id)

    def _existing(self, dataset_id: str) -> Draft:
        draft = self.get(dataset_id)
        if draft is None and self._workspace.dataset(dataset_id) is not None:
            raise _not_ready(f"Dataset {dataset_id!r} is complete; its files do not change.")
        if draft is None:
            raise not_there("dataset", dataset_id)
        return draft

    def _digest(self, dataset_id: str, name: str) -> str:
        digest = hashlib.sha256()
        for piece in self._workspace.read_file(dataset_id, name, 0, self._workspace.file_size(dataset_id, name) or 0):
            digest.update(piece)
        return digest.hexdigest()


def stored_name(name: str) -> str:
    """The name that a file has in its dataset: one that says what it is. Refused: it is no plain name."""
    if not _NAME.fullmatch(name):
        raise invalid("filename", f"File name {name!r}: expected letters, digits, '.', '_', '-' and spaces.")
    return name if name.endswith(_SUFFIXES) else f"{name}.jsonl"


def _place(dataset_id: str) -> str:
    return f"{_DRAFTS}{checked_id(dataset_id)}.json"


def _not_ready(message: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "failed_precondition", message)
