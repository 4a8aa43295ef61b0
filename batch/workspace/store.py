"""A workspace: the datasets and the job pointers of a group of people, as create-only objects under one URI.

    datasets/<id>/dataset.json   what the dataset is; its files lie beside it, written before it
    jobs/<job id>.json           where the job's output lies

A job's output is a dataset, with the job's own objects inside. Knows nothing of workers and states.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from batch import layout
from batch.errors import JobFailed, UsageError
from batch.records.shelf import Shelf
from connectors.errors import NotFound
from connectors.stores.registry import open_store
from connectors.stores.store import Store, pieces
from connectors.uri import join, parse_uri

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DATASETS, _JOBS = "datasets/", "jobs/"
_DATASET_FILE = "dataset.json"

Collection = Literal["datasets", "batchInferenceJobs"]


class Origin(StrEnum):
    """Where a dataset's lines come from."""

    STORED = "stored"  # files in the workspace
    EXTERNAL = "external"  # files somewhere else, not copied
    JOB = "job"  # the output of a job


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """One file of a stored dataset, by its name in the dataset's folder."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """What a workspace knows of a dataset. `rows` are non-blank lines, None where nobody counted."""

    dataset_id: str
    origin: Origin
    created_at: str
    created_by: str = ""
    display_name: str = ""
    files: tuple[DatasetFile, ...] = ()
    rows: int | None = None
    external_uri: str = ""
    source_job_id: str = ""


@dataclass(frozen=True, slots=True)
class JobPointer:
    """Where a job lives."""

    job_id: str
    output: str


class Workspace:
    """The datasets and jobs under one URI, named by one account. UsageError for an id that is none."""

    def __init__(self, uri: str, account_id: str) -> None:
        self.account_id = account_id
        self._uri = parse_uri(uri)
        self._store: Store = open_store(str(self._uri))
        self._shelf = Shelf(self._store)

    @property
    def uri(self) -> str:
        """The canonical URI."""
        return str(self._uri)

    def full_name(self, collection: Collection, own_id: str) -> str:
        """`accounts/<account>/<collection>/<id>`."""
        return f"accounts/{self.account_id}/{collection}/{own_id}"

    def bare_id(self, collection: Collection, given: str) -> str:
        """The id in `x` or in its full name. UsageError for what is no id, or of another account or collection."""
        prefix, own_id = given[: given.rfind("/") + 1], given[given.rfind("/") + 1 :]
        if prefix not in ("", self.full_name(collection, "")):
            raise UsageError(f"{given!r}: expected an id or {self.full_name(collection, '<id>')}.")
        return checked_id(own_id)

    # --- datasets ---

    def dataset_uri(self, dataset_id: str) -> str:
        """The folder of a dataset, whether or not it exists."""
        return str(join(self._uri, "datasets", checked_id(dataset_id)))

    def create_dataset(self, record: DatasetRecord, files: Mapping[str, bytes] | None = None) -> DatasetRecord:
        """Store the files, then the record that makes them a dataset; the record that stands.

        JobFailed when other bytes stand under a file's name.
        """
        folder = _folder(record.dataset_id)
        for name, content in (files or {}).items():
            if not self._store.create(folder + name, content) and self._store.get(folder + name) != content:
                raise JobFailed(f"{self.uri}/{folder}{name} holds other bytes; delete that dataset or use another id.")
        return self._shelf.create(folder + _DATASET_FILE, record)

    def store_file(self, dataset_id: str, name: str, chunks: Iterable[bytes]) -> bool:
        """Store a file of a dataset to be, read as it comes. False: one stands there."""
        return self._store.create_from(_folder(dataset_id) + name, chunks)

    def file_size(self, dataset_id: str, name: str) -> int | None:
        """How many bytes a file of a dataset has; None where there is none."""
        try:
            return self._store.head(_folder(dataset_id) + name).size_bytes
        except NotFound:
            return None

    def read_file(self, dataset_id: str, name: str, start: int, end: int) -> Iterator[bytes]:
        """Bytes [start, end) of a file of a dataset, piece by piece. NotFound."""
        return pieces(self._store, _folder(dataset_id) + name, start, end)

    def dataset(self, dataset_id: str) -> DatasetRecord | None:
        """A dataset's record; None when there is none."""
        return self._shelf.get(DatasetRecord, _folder(dataset_id) + _DATASET_FILE)

    def datasets(self, starting_with: str = "") -> list[DatasetRecord]:
        """All datasets whose id starts so, by id. Costs one listing of every object of them."""
        keys = self._store.keys(_DATASETS + starting_with)
        records = (self._shelf.get(DatasetRecord, key) for key in keys if _is_dataset(key))
        return [record for record in records if record is not None]

    def dataset_ids(self, starting_with: str = "") -> list[str]:
        """The ids of all folders of datasets that begin so, also of those that are none yet, or no more."""
        keys = self._store.keys(_DATASETS + starting_with)
        return sorted({key.removeprefix(_DATASETS).partition("/")[0] for key in keys})

    def rename_dataset(self, dataset_id: str, display_name: str) -> DatasetRecord | None:
        """Change the label, the one thing of a dataset that changes; the last writer wins. None: no such dataset."""
        record = self.dataset(dataset_id)
        if record is None:
            return None
        renamed = replace(record, display_name=display_name)
        self._shelf.put(_folder(dataset_id) + _DATASET_FILE, renamed)
        return renamed

    def delete_dataset(self, dataset_id: str) -> None:
        """Remove the record first, then every object of the dataset; an external one's files stay. Absent is fine."""
        folder = _folder(dataset_id)
        self._store.delete(folder + _DATASET_FILE)
        for key in list(self._store.keys(folder)):
            self._store.delete(key)

    def inputs_of(self, dataset_id: str) -> tuple[str, ...]:
        """The URIs or patterns to read the dataset by. UsageError: no such dataset, or a job still writes it."""
        record = self.dataset(dataset_id)
        if record is None:
            raise UsageError(
                f"There is no dataset {dataset_id!r} in {self.uri}; `Dataset.sync()` or `create` makes one."
            )
        if record.origin is Origin.EXTERNAL:
            return (record.external_uri,)
        folder = parse_uri(self.dataset_uri(dataset_id))
        if record.origin is Origin.STORED:
            return tuple(str(join(folder, file.name)) for file in record.files)
        if not self._has(_folder(dataset_id) + layout.MANIFEST):
            raise UsageError(f"Dataset {dataset_id!r} is not ready: its job {record.source_job_id!r} has not ended.")
        return (str(join(folder, "results")),)

    # --- jobs ---

    def create_job(self, pointer: JobPointer) -> JobPointer:
        """The pointer that stands."""
        return self._shelf.create(_job_key(pointer.job_id), pointer)

    def job(self, job_id: str) -> JobPointer | None:
        """Where a job lives; None when this workspace has no such job."""
        return self._shelf.get(JobPointer, _job_key(job_id))

    def job_ids(self) -> list[str]:
        """The ids of all jobs."""
        return [key.removeprefix(_JOBS).removesuffix(".json") for key in self._store.keys(_JOBS)]

    def jobs(self) -> Iterator[JobPointer]:
        """All jobs by id."""
        return self._shelf.all(JobPointer, _JOBS)

    def delete_job(self, job_id: str) -> None:
        """Forget where a job lives; its output stays. Absent is fine."""
        self._store.delete(_job_key(job_id))

    def _has(self, key: str) -> bool:
        try:
            self._store.head(key)
        except NotFound:
            return False
        return True


def checked_id(given: str) -> str:
    """The id itself. UsageError for one that is no id."""
    if not _ID.fullmatch(given):
        raise UsageError(f"id {given!r}: expected 1 to 64 letters, digits, '_' or '-'.")
    return given


def _folder(dataset_id: str) -> str:
    return f"{_DATASETS}{checked_id(dataset_id)}/"


def _job_key(job_id: str) -> str:
    return f"{_JOBS}{checked_id(job_id)}.json"


def _is_dataset(key: str) -> bool:
    return key.count("/") == _DATASETS.count("/") + 1 and key.endswith(f"/{_DATASET_FILE}")
