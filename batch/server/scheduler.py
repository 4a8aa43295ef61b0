"""Starts the jobs of a server on this machine, each by a worker that outlives it, and takes up what runs already.

Which one starts is `batch.scheduling`'s to say. Knows no face.
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from batch.clock import parse_rfc3339
from batch.errors import BatchError
from batch.jobs.lease import this_process, why_idle
from batch.machine.launcher import Launcher, log_path
from batch.machine.resources import engine_needs, parse_replicas
from batch.records.state import JobRecord, JobState
from batch.scheduling.queue import Decision, Key, Running, Start, Waiting, decide
from batch.server.server import BatchServer
from batch.server.tenant import Tenant
from connectors.errors import InputError, StoreError

logger = logging.getLogger(__name__)

MAX_FAILED_ATTEMPTS = 3
"""A job whose attempt failed, and might not the next time, is tried so often."""
GPUS_OPTION = "gpus"


@dataclass(frozen=True, slots=True)
class _Look:
    """The jobs of one moment that have not ended."""

    waiting: list[Waiting]
    running: list[Running]
    outputs: dict[Key, JobRecord]


@dataclass(frozen=True, slots=True)
class Place:
    """Where jobs run: on this machine's GPUs, by number, or one at a time where there are none.

    With `ray_address` on a cluster, `jobs_at_once` at a time, whatever GPUs this machine has.
    """

    gpus: tuple[str, ...] = ()
    ray_address: str | None = None
    jobs_at_once: int = 1

    @property
    def has_gpus(self) -> bool:
        """Whether a job gets GPUs of this machine."""
        return bool(self.gpus) and self.ray_address is None

    @property
    def slots(self) -> tuple[str, ...]:
        """What jobs are given, each to one at a time."""
        return self.gpus if self.has_gpus else tuple(f"place {number}" for number in range(self.jobs_at_once))


class Scheduler:
    """The scheduler of one machine. Not for several threads; `reason` is."""

    def __init__(self, server: BatchServer, place: Place, *, launcher: Launcher) -> None:
        self._server = server
        self._place = place
        self._launcher = launcher
        self._here = this_process()
        self._workers: dict[Key, tuple[subprocess.Popen[bytes], tuple[str, ...]]] = {}
        self._reasons: Mapping[Key, str] = {}

    def step(self) -> Decision:
        """Look at all jobs once and start those whose turn it is."""
        look = self._look()
        decision = decide(look.waiting, look.running, self._place.slots, self._server.clock.now())
        for start in decision.starts:
            try:
                self._start(start, look.outputs[start.key])
            except (BatchError, StoreError, InputError, OSError) as error:
                logger.error("%s cannot be started: %s", start.key.job_id, error)
        self._reasons = decision.reasons
        return decision

    def reason(self, account_id: str, job_id: str) -> str:
        """Why a job waits, as of the last look; empty for one that does not."""
        return self._reasons.get(Key(account_id, job_id), "")

    def _look(self) -> _Look:
        self._workers = {key: kept for key, kept in self._workers.items() if kept[0].poll() is None}
        look = _Look([], [], {})
        for account_id in self._server.root.account_ids():
            tenant = self._server.tenant(account_id)
            _forget_deleted(tenant)
            for record in tenant.jobs.unfinished():
                self._sort(look, Key(account_id, record.job_id), record, tenant)
        return look

    def _sort(self, look: _Look, key: Key, record: JobRecord, tenant: Tenant) -> None:
        look.outputs[key] = record
        if key in self._workers:
            look.running.append(Running(key, self._workers[key][1]))
        elif why_idle(record, self._here) is None:
            look.running.append(Running(key, self._slots_of(record, tenant)))
        elif not has_failed(record):
            submission = tenant.submissions.get(record.job_id)
            look.waiting.append(
                Waiting(
                    key,
                    created_at=parse_rfc3339(record.created_at),
                    since=parse_rfc3339(record.updated_at),
                    priority=submission.priority if submission else 0,
                    needs=self._needs(record, tenant),
                    attempts=record.attempts,
                    only_closes=_only_closes(record, self._server.clock.now()),
                )
            )

    def _slots_of(self, record: JobRecord, tenant: Tenant) -> tuple[str, ...] | None:
        """The slots of a job that was started before this process, on this machine."""
        if record.holder is None or record.holder.host != self._here.host:
            return None
        if not self._place.has_gpus:
            return self._place.slots[:1]
        store = tenant.jobs.store(record.job_id)
        epoch = store.latest_epoch() if store else None
        told = epoch.options.get(GPUS_OPTION) if epoch else None
        return tuple(str(told).split(",")) if told else self._place.slots

    def _needs(self, record: JobRecord, tenant: Tenant) -> int:
        if not self._place.has_gpus:
            return 1
        replicas = self._replicas(record, tenant)
        return engine_needs(record.spec).ranks * (parse_replicas(replicas)[0] if replicas else 1)

    def _replicas(self, record: JobRecord, tenant: Tenant) -> str | None:
        """The engines that the job's model is registered with; None: one for each GPU set that it gets."""
        submission = tenant.submissions.get(record.job_id)
        model = self._server.models.get(submission.model) if submission is not None else None
        return model.replicas or None if model is not None else None

    def _start(self, start: Start, record: JobRecord) -> None:
        attempt = record.attempts + 1
        tenant = self._server.tenant(start.key.account_id)
        worker = self._launcher.start(
            record.spec.output,
            foreground=False,
            replicas=self._replicas(record, tenant),
            ray_address=self._place.ray_address,
            gpus=start.slots if self._place.has_gpus else None,
            log=log_path(record.spec.output, job_id=record.job_id, attempt=attempt),
        )
        self._workers[start.key] = (worker, start.slots)
        tenant.jobs.forget(record.job_id)
        logger.info("%s: attempt %d has process %d", record.job_id, attempt, worker.pid)


def has_failed(record: JobRecord) -> bool:
    """Whether the job is at its end without a ledger: the server will not try it again."""
    return record.state is JobState.FAILED and (not record.may_resume or record.attempts >= MAX_FAILED_ATTEMPTS)


def has_ended(record: JobRecord) -> bool:
    """Whether the job is at its end, with a ledger or without one."""
    return record.manifest is not None or has_failed(record)


def _forget_deleted(tenant: Tenant) -> None:
    """Remove what leads to the jobs that were deleted and have ended since."""
    for job_id in tenant.submissions.deleted():
        record = tenant.jobs.get(job_id)
        if record is None or has_ended(record):
            tenant.forget_job(job_id)


def _only_closes(record: JobRecord, now: datetime) -> bool:
    deadline_s = record.spec.deadline_s
    is_late = deadline_s is not None and now >= parse_rfc3339(record.created_at) + timedelta(seconds=deadline_s)
    return is_late or record.state is JobState.CANCELLING
