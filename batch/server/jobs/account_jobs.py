"""The jobs of an account as records, each read from the store no more often than it can have changed.

Knows no face.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from batch.clock import Clock
from batch.errors import BatchError, JobNotFound
from batch.jobs.store import JobStore
from batch.records.state import JobRecord
from batch.workspace.store import Workspace

READERS = 16
FRESH_S, QUEUED_S = 1.0, 2.0
"""How old what is told of a job that runs, and of one that waits for its first attempt, may be."""
POINTERS_S = 10.0
"""How long a deletion by another server may go unnoticed, of a job that has ended."""


class AccountJobs:
    """Several threads may share one; of those that ask for one job at a time, one reads."""

    def __init__(self, workspace: Workspace, clock: Clock) -> None:
        self._workspace = workspace
        self._clock = clock
        self._read_at_s: dict[str, float] = {}
        self._records: dict[str, JobRecord] = {}
        self._stores: dict[str, JobStore] = {}
        self._locks: dict[str, threading.Lock] = {}

    def get(self, job_id: str) -> JobRecord | None:
        """The job; None when there is none."""
        with self._locks.setdefault(job_id, threading.Lock()):
            return self.fresh(job_id) or self._read(job_id)

    def fresh(self, job_id: str) -> JobRecord | None:
        """What was read of the job a moment ago; None when the store has to be asked."""
        record = self._records.get(job_id)
        if record is None:
            return None
        limit_s = POINTERS_S if record.manifest is not None else FRESH_S if record.attempts else QUEUED_S
        return record if self._clock.monotonic() - self._read_at_s.get(job_id, -limit_s) < limit_s else None

    def store(self, job_id: str) -> JobStore | None:
        """The objects of a job; None when there is none."""
        pointer = self._workspace.job(job_id)
        return None if pointer is None else JobStore.open(pointer.output)

    def all(self) -> list[JobRecord]:
        """Every job that can be read, by id. Those that ended are not read again."""
        ids = self._workspace.job_ids()
        for gone in self._records.keys() - set(ids):
            self.forget(gone)
        return self._each(ids)

    def unfinished(self) -> list[JobRecord]:
        """Those that have not ended."""
        return [record for record in self.all() if record.manifest is None]

    def forget(self, job_id: str) -> None:
        """Read it anew the next time."""
        for kept in (self._records, self._stores, self._read_at_s):
            kept.pop(job_id, None)

    def _each(self, ids: Iterable[str]) -> list[JobRecord]:
        ended = {job_id: record for job_id, record in list(self._records.items()) if record.manifest is not None}
        open_ids = [job_id for job_id in ids if job_id not in ended]
        with ThreadPoolExecutor(READERS) as readers:
            found = dict(zip(open_ids, readers.map(self._get_readable, open_ids), strict=True))
        records = (ended.get(job_id) or found.get(job_id) for job_id in ids)
        return [record for record in records if record is not None]

    def _get_readable(self, job_id: str) -> JobRecord | None:
        try:
            return self.get(job_id)
        except BatchError:  # one damaged job hides no other; asked for by its id, it says what is wrong
            return None

    def _read(self, job_id: str) -> JobRecord | None:
        pointer = self._workspace.job(job_id)
        if pointer is None:
            self.forget(job_id)
            return None
        store = self._stores.get(job_id) or JobStore.open(pointer.output)
        try:
            record = store.record(self._clock.now())
        except JobNotFound:  # its output was deleted
            self.forget(job_id)
            return None
        self._records[job_id], self._read_at_s[job_id] = record, self._clock.monotonic()
        if record.manifest is None:
            self._stores[job_id] = store
        else:
            self._stores.pop(job_id, None)
        return record
