"""The time-limited right to run a job: who may take it, how it is kept, when it is lost.

The lease saves engine time only: two holders would still meet in one commit per shard and one manifest. No decision
reads the wall clock. Knows nothing of shards, engines or what an attempt does.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from batch.clock import Clock, rfc3339
from batch.errors import JobGone, JobHeld
from batch.jobs.store import JobStore, Standing
from batch.phases import Phase
from batch.records.objects import AttemptEnd, Epoch, Exit, Heartbeat, Holder, Progress, Scalar
from batch.records.state import HEARTBEAT_TTL_S, JobRecord, JobState
from connectors.errors import Unavailable

logger = logging.getLogger(__name__)

HEARTBEAT_EVERY_S = 2.0
WATCH_EVERY_S = 1.0
STORE_PATIENCE_S = 600.0
"""How long an attempt waits for a store that is out of reach: an engine that runs is worth more than the wait."""


class Verdict(Enum):
    """What a newcomer may do about the latest epoch."""

    TAKE = "take"
    HELD = "held"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class Sighting:
    """The latest epoch as a newcomer sees it. `silent_s`: its own monotonic seconds without a new beat."""

    has_ended: bool
    holder_is_gone: bool
    beat_changed: bool
    silent_s: float


def judge(sighting: Sighting, ttl_s: float = HEARTBEAT_TTL_S) -> Verdict:
    """Take an ended, dead or silent epoch over; leave one that beats; else go on watching."""
    if sighting.has_ended or sighting.holder_is_gone:
        return Verdict.TAKE
    if sighting.beat_changed:
        return Verdict.HELD
    return Verdict.TAKE if sighting.silent_s >= ttl_s else Verdict.WATCH


def claim(job_store: JobStore, holder: Holder, *, clock: Clock, options: Mapping[str, Scalar] | None = None) -> Lease:
    """Open the next epoch. Waits up to the TTL for a silent holder; JobHeld as soon as one shows life."""
    while True:
        numbers = job_store.epoch_numbers()
        claims = (job_store.epoch(number) for number in reversed(numbers))
        latest = next((epoch for epoch in claims if epoch is not None), None)
        if latest is not None:
            _await_end(job_store, latest, holder, clock)
        epoch = Epoch(
            number=max(numbers, default=0) + 1,
            holder=holder,
            started_at=rfc3339(clock.now()),
            options=dict(options or {}),
        )
        if job_store.create_epoch(epoch):
            lease = Lease(job_store, epoch, clock)
            lease.renew(Phase.STARTING, _progress_so_far(job_store, latest))
            return lease


def _await_end(job_store: JobStore, epoch: Epoch, newcomer: Holder, clock: Clock) -> None:
    """Return when the epoch may be taken over. JobHeld when its owner beats."""
    first = job_store.heartbeat(epoch.number)
    since = clock.monotonic()
    while True:
        heartbeat = job_store.heartbeat(epoch.number)
        sighting = Sighting(
            has_ended=job_store.attempt_end(epoch.number) is not None,
            holder_is_gone=is_gone(epoch.holder, newcomer),
            beat_changed=heartbeat != first,
            silent_s=clock.monotonic() - since,
        )
        verdict = judge(sighting)
        if verdict is Verdict.HELD:
            raise _held(epoch, heartbeat)
        if verdict is Verdict.TAKE:
            return
        clock.sleep(WATCH_EVERY_S)


def _held(epoch: Epoch, heartbeat: Heartbeat | None) -> JobHeld:
    holder = f"{epoch.holder.host}, process {epoch.holder.pid}, since {epoch.started_at}"
    done = f", {heartbeat.progress.rows_done} of {heartbeat.progress.rows_total} rows done" if heartbeat else ""
    return JobHeld(f"Attempt {epoch.number} runs this job on {holder}{done}; wait for it or cancel it.", holder)


def _progress_so_far(job_store: JobStore, latest: Epoch | None) -> Progress:
    heartbeat = job_store.heartbeat(latest.number) if latest else None
    if heartbeat is None:
        return Progress()
    return replace(
        heartbeat.progress,
        rows_per_s=0.0,
        prompt_tokens_per_s=0.0,
        completion_tokens_per_s=0.0,
        eta_s=None,
        message="",
        retries=0,
    )


class Lease:
    """A claimed epoch. Its owner renews it every HEARTBEAT_EVERY_S and stops handing out work once it is lost.

    A store that does not answer takes nothing from it: whoever waits for the TTL may follow, and is seen afterwards.
    """

    def __init__(self, job_store: JobStore, epoch: Epoch, clock: Clock) -> None:
        self.epoch = epoch
        self.standing = Standing.OURS
        self._job_store = job_store
        self._clock = clock
        self._beat = 0
        self._renewed_at_s = clock.monotonic()

    def renew(self, phase: Phase, progress: Progress) -> bool:
        """Look whether the claim stands and is the newest, then beat; False when the lease is lost.

        An unavailable store only costs time.
        """
        if self.lost:
            return False
        try:
            standing = self._job_store.standing(self.epoch.number)
            self.standing = standing
            if standing is not Standing.OURS:
                return False
            self._job_store.beat(
                Heartbeat(self.epoch.number, self._beat + 1, rfc3339(self._clock.now()), phase, progress)
            )
        except JobGone:
            self.standing = Standing.GONE
            return False
        except Unavailable:
            return True
        self._beat += 1
        self._note_silence()
        return True

    @property
    def lost(self) -> bool:
        """A newer epoch exists, or this one is gone. Never becomes False again."""
        return self.standing is not Standing.OURS

    def _note_silence(self) -> None:
        now_s = self._clock.monotonic()
        if now_s - self._renewed_at_s >= HEARTBEAT_TTL_S:
            logger.warning(
                "no heartbeat for %.0f s, and no other attempt has the job: it goes on", now_s - self._renewed_at_s
            )
        self._renewed_at_s = now_s

    def end(self, how: Exit, message: str, *, resumable: bool = True) -> AttemptEnd:
        """Record how the attempt ended, so that the next one need not wait. The first end stands."""
        end = AttemptEnd(self.epoch.number, how, message, rfc3339(self._clock.now()), resumable)
        return self._job_store.end_attempt(end)


def this_process() -> Holder:
    """The calling process, told from a later one with the same pid where the system lets it."""
    pid = os.getpid()
    return Holder(socket.gethostname(), pid, _process_started(pid), _boot_id())


def is_gone(holder: Holder, newcomer: Holder) -> bool:
    """Whether the holder certainly ended: on the newcomer's host, boot and pid namespace no such process lives."""
    if (holder.host, holder.boot_id) != (newcomer.host, newcomer.boot_id):
        return False
    if not _answers(holder.pid):
        return True
    started = _process_started(holder.pid)
    return "" not in (started, holder.process_started) and started != holder.process_started


def why_idle(record: JobRecord, here: Holder) -> str | None:
    """Why nobody works on a job; None when somebody does, as far as can be seen from `here`, or when it has ended."""
    number = record.attempts
    if record.manifest is not None:
        return None
    if record.state is JobState.FAILED:
        return f"nobody works on it, attempt {number} failed: {record.message.rstrip('.')}"
    if record.holder is None:
        return f"nobody works on it, {f'attempt {number} was interrupted' if number else 'no attempt was started'}"
    holder = f"process {record.holder.pid} on {record.holder.host}"
    if is_gone(record.holder, here):
        return f"nobody works on it, attempt {number} ended early: {holder} is gone"
    return f"nobody works on it, {holder} has been silent since {record.updated_at}" if record.stale else None


def _process_started(pid: int) -> str:
    """Start ticks since boot by /proc; "ended" for a zombie, empty where that cannot be read."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    # The command's name, in parentheses, may itself hold spaces and parentheses.
    state, *fields = stat.rpartition(")")[2].split()
    return "ended" if state in ("Z", "X") else fields[18]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _boot_id() -> str:
    """This boot and pid namespace: containers of one machine may share a host name, but not their pids."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
