"""The closing of the ledger."""

import pytest
from engines import ScriptedEngine, ids, planned_job, rows, run_job, started
from fast_loop import run_fast
from jobs import ENGINE, HOLDER, FakeClock

from batch.jobs.lease import claim
from batch.jobs.store import JobStore
from batch.planning.plan import Plan
from batch.records.manifest import FinalState, LedgerOpen, Manifest
from batch.records.objects import Stop, StopState
from batch.result import Usage
from connectors.stores.registry import open_store
from pipelines.attempt.finalize import finalize
from pipelines.engines.base import Answer
from pipelines.shards.runner import ShardRunner

STOP = Stop(StopState.CANCELLED, "enough", "2026-01-31T12:00:00.000000Z")


def run_shards(job: JobStore, *shards: int, stopped: bool = False) -> None:
    async def run() -> None:
        replica = ShardRunner(job, started(ScriptedEngine()), epoch=1, name="a")
        if stopped:
            replica.stop(STOP)
        for shard in shards:
            await replica.run(shard)

    run_fast(run())


@pytest.fixture
def job() -> JobStore:
    job = planned_job([*rows(3), b"not json", b""], shard_rows=2)
    claim(job, HOLDER, clock=FakeClock())
    return job


def closed(job: JobStore) -> Manifest:
    plan = job.plan()
    assert isinstance(plan, Plan)
    return finalize(job, plan, epoch=1, engine=ENGINE, clock=FakeClock())


def test_all_commits_make_a_ledger_that_closes(job: JobStore) -> None:
    run_shards(job, 0, 1)

    manifest = closed(job)

    assert manifest.state is FinalState.COMPLETED
    assert (manifest.lines, manifest.blank, manifest.succeeded, manifest.failed) == (5, 1, 3, 1)
    assert manifest.failed_by_code == {"malformed_json": 1}
    assert manifest.engine == ENGINE
    assert job.manifest() == manifest


def test_a_shard_with_long_answers_has_parts_of_64_mib_at_most() -> None:
    text = b"x" * (30 << 20)
    engine = ScriptedEngine(lambda request, _: Answer(200, b'{"text": "%b"}' % text, Usage()))
    job = planned_job([*rows(3), b"not json"])
    claim(job, HOLDER, clock=FakeClock())
    run_job(job, engine)

    manifest = closed(job)

    assert [part.rows for part in manifest.results] == [2, 1]
    assert max(part.bytes for part in manifest.results) < 64 << 20
    assert sorted(part.key for part in manifest.results) == [part.key for part in manifest.results]
    assert ids(job) == ["r0", "r1", "r2"]
    assert [part.rows for part in manifest.errors] == [1]


def test_a_shard_without_commit_leaves_the_ledger_open(job: JobStore) -> None:
    run_shards(job, 0)

    with pytest.raises(LedgerOpen, match="shard 1 has no commit"):
        closed(job)

    assert job.manifest() is None


def test_a_stop_that_ended_rows_is_the_state(job: JobStore) -> None:
    run_shards(job, 0)
    job.request_stop(STOP)
    run_shards(job, 1, stopped=True)

    manifest = closed(job)

    assert manifest.state is FinalState.CANCELLED
    assert manifest.failed_by_code == {"cancelled": 1, "malformed_json": 1}


def test_a_stop_after_the_last_row_ended_nothing(job: JobStore) -> None:
    run_shards(job, 0, 1)
    job.request_stop(STOP)

    assert closed(job).state is FinalState.COMPLETED


def test_only_parts_that_the_ledger_names_are_kept(job: JobStore) -> None:
    job.write_part("results", 0, attempt="e0001-lost", lines=[b"{}"])
    run_shards(job, 0, 1)

    closed(job)

    keys = [found.key for found in open_store(job.uri).list("results/")]
    assert keys == [part.key for part in job.parts("results")]
    assert ids(job) == ["r0", "r1", "r2"]


def test_closing_twice_gives_the_ledger_that_stands(job: JobStore) -> None:
    run_shards(job, 0, 1)

    assert closed(job) == closed(job)
