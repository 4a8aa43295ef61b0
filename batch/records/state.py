"""A job's state as a pure fold over its objects.

Knows nothing of stores, clocks or wire names.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Self

from batch.clock import parse_rfc3339
from batch.phases import Phase
from batch.records.manifest import Manifest, reason_of
from batch.records.objects import AttemptEnd, Epoch, Exit, Heartbeat, Holder, Progress, Stop, StopState
from batch.spec.job_spec import JobSpec

HEARTBEAT_TTL_S = 30.0


class JobState(StrEnum):
    """The states of a job; on the Fireworks wire with `JOB_STATE_` in front."""

    VALIDATING = "VALIDATING"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    WRITING_RESULTS = "WRITING_RESULTS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    DELETING = "DELETING"

    @property
    def is_final(self) -> bool:
        """Ended. A FAILED job without a manifest may still be resumed."""
        return self in _FINAL


_FINAL = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.EXPIRED})


@dataclass(frozen=True, slots=True)
class PlanTotals:
    """What the fold needs of a plan."""

    shards: int
    lines: int
    rows: int


@dataclass(frozen=True, slots=True)
class JobFacts:
    """All that a job's objects say at one moment. `end` and `heartbeat` belong to `epoch`, the latest one.

    `committed_shards` may be 0 until the heartbeat says that no row is missing.
    """

    spec: JobSpec
    plan: PlanTotals | None = None
    attempts: int = 0
    first_started_at: str | None = None
    epoch: Epoch | None = None
    heartbeat: Heartbeat | None = None
    end: AttemptEnd | None = None
    stop: Stop | None = None
    committed_shards: int = 0
    manifest: Manifest | None = None

    @classmethod
    def ended(cls, spec: JobSpec, manifest: Manifest, stop: Stop | None) -> Self:
        """What the closing ledger says, which is all that an ended job is."""
        plan = PlanTotals(0, manifest.lines, manifest.lines - manifest.blank) if manifest.inputs else None
        return cls(spec, plan, manifest.attempts, manifest.started_at, stop=stop, manifest=manifest)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job as people see it. `lines` is None before the plan; `holder` None when no attempt is open.

    `stale`: an attempt is open, but its heartbeat is older than the TTL by the wall clock (for display only).
    `may_resume`: False when the last attempt failed in a way that the next one would, too.
    """

    job_id: str
    state: JobState
    message: str
    model: str
    created_at: str
    started_at: str | None
    updated_at: str
    finished_at: str | None
    progress: Progress
    rows: int | None
    lines: int | None
    holder: Holder | None
    stale: bool
    attempts: int
    manifest: Manifest | None
    spec: JobSpec
    may_resume: bool = True


def fold(facts: JobFacts, now: datetime) -> JobRecord:
    """The job at `now`. Pure; the clock decides only `stale`."""
    claim = None if facts.manifest or facts.end else facts.epoch
    return JobRecord(
        job_id=facts.spec.job_id,
        state=state_of(facts),
        message=_message(facts),
        model=facts.spec.model,
        created_at=facts.spec.created_at,
        started_at=facts.first_started_at,
        updated_at=_updated_at(facts),
        finished_at=facts.manifest.finished_at if facts.manifest else None,
        progress=_progress(facts),
        rows=facts.plan.rows if facts.plan else None,
        lines=facts.plan.lines if facts.plan else None,
        holder=claim.holder if claim else None,
        stale=claim is not None and _silent_s(claim, facts.heartbeat, now) > HEARTBEAT_TTL_S,
        attempts=facts.attempts,
        manifest=facts.manifest,
        spec=facts.spec,
        may_resume=facts.end is None or facts.end.resumable,
    )


def state_of(facts: JobFacts) -> JobState:
    """The state that the objects stand for; the first rule that fits wins."""
    if facts.manifest is not None:
        return JobState(facts.manifest.state.value)
    if facts.end is not None and facts.end.exit is Exit.FAILED:
        return JobState.FAILED
    if facts.stop is not None:
        return JobState.CANCELLING if facts.stop.state is StopState.CANCELLED else JobState.WRITING_RESULTS
    if facts.plan is None:
        return JobState.VALIDATING
    if facts.committed_shards >= facts.plan.shards:
        return JobState.WRITING_RESULTS
    is_running = facts.end is None and facts.heartbeat is not None and facts.heartbeat.phase is Phase.RUNNING
    return JobState.RUNNING if is_running else JobState.PENDING


def _message(facts: JobFacts) -> str:
    if facts.manifest is None and facts.end is not None:
        return facts.end.message
    if facts.manifest is not None:
        return reason_of(facts.manifest, facts.spec, facts.stop)
    if facts.stop is not None:
        return facts.stop.message
    return facts.heartbeat.progress.message if facts.heartbeat else ""


def _updated_at(facts: JobFacts) -> str:
    if facts.manifest is not None:
        return facts.manifest.finished_at
    seen = [facts.spec.created_at]
    seen += [fact.at for fact in (facts.heartbeat, facts.end, facts.stop) if fact is not None]
    seen += [facts.epoch.started_at] if facts.epoch else []
    return max(seen, key=parse_rfc3339)


def _progress(facts: JobFacts) -> Progress:
    manifest = facts.manifest
    if manifest is not None:
        return Progress(
            rows_total=manifest.lines - manifest.blank,
            succeeded=manifest.succeeded,
            failed=manifest.failed,
            prompt_tokens=manifest.usage.prompt_tokens,
            completion_tokens=manifest.usage.completion_tokens,
        )
    if facts.heartbeat is not None:
        return facts.heartbeat.progress
    return Progress(rows_total=facts.plan.rows if facts.plan else 0)


def _silent_s(claim: Epoch, heartbeat: Heartbeat | None, now: datetime) -> float:
    last = heartbeat.at if heartbeat else claim.started_at
    return (now - parse_rfc3339(last)).total_seconds()
