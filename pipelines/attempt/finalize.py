"""The end of a job: every shard has a commit, so the ledger can be closed. Knows nothing of Ray and of engines."""

from batch.clock import Clock, rfc3339
from batch.errors import BatchError
from batch.jobs.audit import audit
from batch.jobs.prefix_clustering import in_input_order
from batch.jobs.store import JobStore
from batch.planning.plan import Plan
from batch.records.manifest import Closing, EngineIdentity, LedgerOpen, Manifest, close_ledger
from batch.records.objects import Commit, Stop
from batch.result import Code
from connectors.errors import StoreError

SHOWN_PROBLEMS = 5


def finalize(job: JobStore, plan: Plan, *, epoch: int, engine: EngineIdentity, clock: Clock) -> Manifest:
    """Write the manifest over all commits, then delete what it does not name.

    Return the manifest that stands. Raises LedgerOpen when a line is unaccounted for or a part is not as it was
    written.
    """
    try:
        manifest = _close(job, plan, epoch=epoch, engine=engine, clock=clock)
    except (BatchError, StoreError):
        ended = job.manifest()  # another attempt may have ended the job, and deleted what this one was about to read
        if ended is None:
            raise
        manifest = ended
    job.collect_garbage(manifest)
    return manifest


def _close(job: JobStore, plan: Plan, *, epoch: int, engine: EngineIdentity, clock: Clock) -> Manifest:
    job.check_in_place()
    audited = audit(job, thorough=True)
    _refuse_damage(audited.problems)
    commits = audited.commits
    epochs, now = job.epochs(), rfc3339(clock.now())
    closing = Closing(
        engine=engine,
        attempts=len(epochs),
        started_at=min((epoch.started_at for epoch in epochs), default=now),
        finished_at=now,
    )
    output = in_input_order(job, plan, commits, attempt=f"e{epoch:04d}-in-order") if plan.copies else None
    stop = _effective(job.stop(), plan, commits)
    manifest = close_ledger(job.spec(), plan, commits=commits, stop=stop, closing=closing, output=output)
    if output:  # written since the audit
        _refuse_damage([f"{job.uri}/{part.key} {problem}" for part, problem in job.damage(output.parts, thorough=True)])
    return job.create_manifest(manifest)


def _refuse_damage(problems: list[str]) -> None:
    if problems:
        shown = "; ".join(problems[:SHOWN_PROBLEMS])
        more = f"; and {len(problems) - SHOWN_PROBLEMS} more parts" if len(problems) > SHOWN_PROBLEMS else ""
        raise LedgerOpen(
            f"{shown}{more}: something else than batchctl changed them, and their shards have to run again"
        )


def _effective(stop: Stop | None, plan: Plan, commits: dict[int, Commit]) -> Stop | None:
    """A stop that came after the last row was answered ended nothing: the job is complete."""
    ended = plan.is_unread or any(
        code in commit.failed_by_code for commit in commits.values() for code in (Code.CANCELLED, Code.EXPIRED)
    )
    return stop if ended else None
