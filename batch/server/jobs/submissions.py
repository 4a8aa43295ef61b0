"""What a client asked of a job beyond its spec, stored before the job: a create that died in the middle is finished.

Knows no face.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from batch.records.shelf import Shelf
from batch.server.ids import RETRIED_WITHIN, first_since

_SUBMISSIONS, _BY_KEY, _DELETED = "submissions/", "idempotency/", "deletions/"


@dataclass(frozen=True, slots=True)
class Submission:
    """One create. `request_digest`: of what was asked; `model`: as it was named; the rest as OpenAI names it."""

    job_id: str
    request_digest: str
    created_at: str
    model: str
    input_id: str
    endpoint: str = ""
    completion_window: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    output_ttl_s: int | None = None
    priority: int = 0


@dataclass(frozen=True, slots=True)
class _Named:
    """Which job an idempotency key made, and of what request."""

    job_id: str
    request_digest: str


@dataclass(frozen=True, slots=True)
class _Deleted:
    """That a job is to go."""

    job_id: str


class Submissions:
    """The creates of one account."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._known: dict[str, Submission] = {}
        self._deleted: set[str] = set()

    def create(self, submission: Submission) -> Submission:
        """The submission that stands for its job."""
        return self._shelf.create(_place(submission.job_id), submission)

    def get(self, job_id: str) -> Submission | None:
        """What was asked of a job; None for a job that no client of the server made."""
        if job_id not in self._known and (found := self._shelf.get(Submission, _place(job_id))) is not None:
            self._known[job_id] = found
        return self._known.get(job_id)

    def named(self, key: str, job_id: str, request_digest: str) -> tuple[str, bool]:
        """The job that an idempotency key, by its digest, stands for, and whether it was made by the same request."""
        standing = self._shelf.create(f"{_BY_KEY}{key}.json", _Named(job_id, request_digest))
        return standing.job_id, standing.request_digest == request_digest

    def sent_before(self, prefix: str, request_digest: str, now: datetime) -> Submission | None:
        """The job of an equal request of a moment ago, whose answer a client that retries has not got."""
        return next((sent for sent in self._recent(prefix, now) if sent.request_digest == request_digest), None)

    def mark_deleted(self, job_id: str) -> None:
        """From now on the job is shown as one that goes, until it has gone."""
        self._shelf.create(f"{_DELETED}{job_id}.json", _Deleted(job_id))
        self._deleted.add(job_id)

    def deleted(self) -> list[str]:
        """The jobs that are to go when they have ended."""
        return [key.removeprefix(_DELETED).removesuffix(".json") for key in self._shelf.keys(_DELETED)]

    def is_deleted(self, job_id: str) -> bool:
        """Whether the job is to go, as far as this process knows."""
        return job_id in self._deleted

    def delete(self, job_id: str) -> None:
        """Forget what was asked of a job that has gone. Absent is fine."""
        self._shelf.delete(_place(job_id))
        self._shelf.delete(f"{_DELETED}{job_id}.json")
        self._known.pop(job_id, None)
        self._deleted.discard(job_id)

    def _recent(self, prefix: str, now: datetime) -> Iterator[Submission]:
        earliest = _place(first_since(prefix, now - RETRIED_WITHIN))
        for key in list(self._shelf.keys(_SUBMISSIONS + prefix)):
            if key >= earliest and (found := self._shelf.get(Submission, key)) is not None:
                yield found


def digest_of(request: dict[str, Any]) -> str:
    """What tells a request from every other one."""
    return hashlib.sha256(orjson.dumps(request, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _place(job_id: str) -> str:
    return f"{_SUBMISSIONS}{job_id}.json"
