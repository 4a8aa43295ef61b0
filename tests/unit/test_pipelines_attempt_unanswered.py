"""Jobs that are stopped while no engine is there: what was answered before stays, every line ends once."""

import asyncio

import pytest
from engines import ScriptedEngine, answered, chat, ids, output, planned_job, rows, runner_of, started
from fast_loop import run_fast
from jobs import ENGINE, HOLDER, FakeClock

from batch.errors import UsageError
from batch.jobs.lease import claim
from batch.jobs.store import JobStore
from batch.records.manifest import FinalState, Manifest, reason_of
from batch.records.objects import Stop, StopState
from batch.rows.request import Request
from batch.submission.retry_failed import continue_plan, continue_spec
from connectors.stores.registry import open_store
from pipelines.attempt.finalize import finalize
from pipelines.attempt.unanswered import end_rows, standing_plan
from pipelines.engines.base import Answer
from pipelines.shards.journal import read_past
from pipelines.shards.runner import ShardRunner

STATES = [(StopState.CANCELLED, "cancelled"), (StopState.EXPIRED, "expired"), (StopState.FAILED, "cancelled")]


def stop(state: StopState) -> Stop:
    return Stop(state, "enough", "2026-01-31T12:00:00.000000Z")


def interrupted_after(job: JobStore, *answers: str) -> None:
    """An attempt whose engine has answered these rows, and no others, when it is interrupted."""
    engine = ScriptedEngine(window=1000, delay_s=lambda request: 1.0 if request.custom_id in answers else 1e6)

    async def run() -> None:
        replica = runner_of(job, engine)
        shards = [asyncio.ensure_future(replica.run(shard.index)) for shard in standing_plan(job).shards]
        await asyncio.sleep(100)
        await replica.keep_answers()
        for shard in shards:
            shard.cancel()
        await asyncio.gather(*shards, return_exceptions=True)

    claim(job, HOLDER, clock=FakeClock())
    run_fast(run())


def ended(job: JobStore, state: StopState = StopState.CANCELLED) -> Manifest:
    plan = standing_plan(job)
    for _ in end_rows(job, plan, job.request_stop(stop(state)), epoch=1):
        pass
    return finalize(job, plan, epoch=1, engine=ENGINE, clock=FakeClock())


@pytest.mark.parametrize(("state", "code"), STATES)
def test_answers_that_were_kept_belong_to_the_ledger_however_the_job_ends(state: StopState, code: str) -> None:
    job = planned_job([*rows(500), b"not json"], shard_rows=300)
    done = [f"r{number}" for number in range(150, 406)]
    interrupted_after(job, *done)

    manifest = ended(job, state)

    assert manifest.state == state.value
    assert ids(job) == done
    assert manifest.failed_by_code == {code: 244, "malformed_json": 1}
    assert len(output(job, "errors")) == 245


def test_copies_of_answers_are_done_too() -> None:
    job = planned_job([chat(f"r{number}", "1 + 1?", temperature=0) for number in range(6)])
    interrupted_after(job, *(f"r{number}" for number in range(6)))

    manifest = ended(job)

    assert (manifest.succeeded, manifest.rows_served_by_deduplication) == (6, 5)
    assert manifest.usage.prompt_tokens == 2


def test_a_running_engine_that_is_stopped_keeps_what_an_earlier_one_answered() -> None:
    job = planned_job(rows(4))
    interrupted_after(job, "r1", "r2")

    async def run() -> None:
        replica = ShardRunner(job, started(ScriptedEngine()), epoch=2, name="b", past=read_past(job))
        replica.stop(stop(StopState.CANCELLED))
        await replica.run(0)

    run_fast(run())

    assert ids(job) == ["r1", "r2"]


def test_a_job_that_is_stopped_before_its_inputs_were_read_takes_no_line_in() -> None:
    job = planned_job(rows(3))
    open_store(job.uri).delete("_job/plan.json")
    job = JobStore.open(job.uri)
    claim(job, HOLDER, clock=FakeClock())

    manifest = ended(job, StopState.EXPIRED)

    assert (manifest.state, manifest.lines, manifest.failed, manifest.inputs) == (FinalState.EXPIRED, 0, 0, ())
    assert reason_of(manifest, job.spec(), job.stop()) == (
        "enough Its inputs had not been read to the end, so none of their lines was taken in."
    )
    assert list(open_store(job.uri).list("errors/")) == []
    assert standing_plan(JobStore.open(job.uri)).is_unread
    continuing = continue_spec(job, job_id="job-2", output=f"{job.uri}-2", created_at=job.spec().created_at)
    with pytest.raises(UsageError, match=r"nothing to retry.*Run them as a new job"):
        continue_plan(continuing)


def test_a_shard_that_has_a_commit_is_left_as_it_is() -> None:
    job = planned_job(rows(4), shard_rows=2)

    async def first() -> None:
        await runner_of(job, ScriptedEngine(_answer)).run(0)

    claim(job, HOLDER, clock=FakeClock())
    run_fast(first())

    assert ended(job).succeeded == 2
    assert ids(job) == ["r0", "r1"]


def _answer(request: Request, _: int) -> Answer:
    return answered(request)
