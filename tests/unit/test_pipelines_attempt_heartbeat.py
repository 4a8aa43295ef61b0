"""What goes on beside the rows: limits that pass, heartbeats with progress, and a lease that is lost."""

import os
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

import pytest
from engines import planned_job, rows
from jobs import HOLDER, FakeClock, make_commit, make_spec

from batch.clock import SystemClock, rfc3339
from batch.jobs.lease import claim
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.planning.plan import Plan
from batch.records.objects import CorruptRecord, EngineReport, Epoch, Heartbeat, Progress, Stop, StopState, Tally
from connectors.errors import Unavailable
from connectors.stores.registry import open_store
from connectors.stores.retry import Retry, retries
from pipelines.attempt.heartbeat import JobStopped, Pulse, limit_passed

CREATED = datetime(2026, 1, 31, 11, 0, tzinfo=UTC)


def test_without_limits_nothing_passes() -> None:
    assert limit_passed(make_spec(), Progress(10, 0, 10), now=CREATED, age_s=1e9) is None


@pytest.mark.parametrize(("second", "passed"), [(4, False), (5, True), (6, True)])
def test_the_deadline_counts_from_the_creation_of_the_job(second: int, passed: bool) -> None:
    stop = limit_passed(make_spec(deadline_s=5.0), Progress(10), now=CREATED, age_s=second)

    assert (stop is not None) == passed
    if stop is not None:
        assert (stop.state, stop.message) == (StopState.EXPIRED, "The deadline of 5 s has passed.")


@pytest.mark.parametrize(
    ("budget", "failed", "passed"),
    [("0", 0, False), ("0", 1, True), ("3", 3, False), ("3", 4, True), ("5%", 10, False), ("5%", 11, True)],
)
def test_the_error_budget_is_rows_or_a_share_of_all_rows(budget: str, failed: int, passed: bool) -> None:
    stop = limit_passed(make_spec(max_failed_rows=budget), Progress(200, 5, failed), now=CREATED, age_s=0.0)

    assert (stop is not None) == passed
    if stop is not None:
        assert stop.state is StopState.FAILED
        assert stop.message == (
            f"{failed} rows failed; --max-failed-rows {budget} allows {10 if budget == '5%' else budget}."
        )


def test_the_deadline_goes_before_the_budget() -> None:
    spec = make_spec(deadline_s=1.0, max_failed_rows="0")

    stop = limit_passed(spec, Progress(10, 0, 10), now=CREATED, age_s=30.0)

    assert stop is not None
    assert stop.state is StopState.EXPIRED


def planned(job: JobStore) -> Plan:
    plan = job.plan()
    assert plan is not None
    return plan


def test_the_heartbeat_tells_the_phase_and_counts_earlier_commits() -> None:
    job = planned_job(rows(9), shard_rows=3)
    job.commit(make_commit(0, 3))
    lease = claim(job, HOLDER, clock=FakeClock())
    pulse = Pulse(job, lease, clock=FakeClock(), on_lost=lambda: None)

    pulse.scanned(12_345)
    pulse.planned(planned(job))
    pulse.settled(1, Tally(2, 1, 5, 6))
    pulse.writing()

    heartbeat = job.heartbeat(1)
    assert heartbeat is not None
    assert heartbeat.phase == "writing"
    assert (heartbeat.progress.rows_total, heartbeat.progress.succeeded, heartbeat.progress.failed) == (9, 5, 1)


def try_thrice() -> None:
    """A call to a store that fails twice."""
    failing = iter([Unavailable("503"), Unavailable("503")])

    def flaky() -> None:
        for error in failing:
            raise error

    Retry(sleep=lambda _: None).run(flaky, verb="put")


def test_the_heartbeat_counts_the_retries_of_the_worker_and_of_its_engines() -> None:
    job = planned_job(rows(3))
    lease = claim(job, HOLDER, clock=FakeClock())
    try_thrice()  # of the job that this process had before
    pulse = Pulse(job, lease, clock=FakeClock(), on_lost=lambda: None, retries_before=retries())
    pulse.planned(planned(job))
    for name, count in (("a", 2), ("b", 5)):
        job.report_engine(EngineReport(1, name, Phase.RUNNING, {}, count))
    job.report_engine(EngineReport(1, "a", Phase.RUNNING, {}, 3))
    try_thrice()
    pulse.writing()

    heartbeat = job.heartbeat(1)
    assert heartbeat is not None
    assert heartbeat.progress.retries == 2 + 3 + 5


@pytest.mark.parametrize(("waited_s", "lines"), [(29.0, 0), (30.0, 1)])
def test_every_half_minute_the_log_has_a_line(caplog: pytest.LogCaptureFixture, waited_s: float, lines: int) -> None:
    caplog.set_level("INFO")
    job, clock = planned_job(rows(3)), FakeClock()
    pulse = Pulse(job, claim(job, HOLDER, clock=clock), clock=clock, on_lost=lambda: None)
    pulse.planned(planned(job))
    job.report_engine(EngineReport(1, "a", Phase.RUNNING, {"0": Tally(1)}, in_flight=2))
    clock.sleep(waited_s)

    with pulse:  # which beats at once
        pass

    told = [message for message in caplog.messages if "rows done" in message]
    assert len(told) == lines
    assert all(message.startswith("1 of 3 rows done, 0 failed, 2 in flight, 0 in line") for message in told)


def test_what_the_attempt_before_has_told_is_where_the_next_one_begins() -> None:
    job, clock = planned_job(rows(9), shard_rows=3), FakeClock()
    job.commit(make_commit(0, 3))
    claim(job, HOLDER, clock=clock).renew(Phase.RUNNING, Progress(9, 5, 1, 30, 12))
    clock.sleep(60)
    pulse = Pulse(job, claim(job, HOLDER, clock=clock), clock=clock, on_lost=lambda: None)

    told = []
    with pulse:
        told.append(heartbeat_of(job, 2))
    pulse.planned(planned(job))
    pulse.settled(1, Tally(3))
    pulse.writing()
    told.append(heartbeat_of(job, 2))

    assert [(heartbeat.progress.succeeded, heartbeat.progress.failed) for heartbeat in told] == [(5, 1), (6, 0)]


def heartbeat_of(job: JobStore, epoch: int) -> Heartbeat:
    heartbeat = job.heartbeat(epoch)
    assert heartbeat is not None
    return heartbeat


def test_a_limit_that_passes_while_the_ledger_is_closed_stops_nothing() -> None:
    job = planned_job(rows(1), deadline_s=1.0, created_at=rfc3339(CREATED))
    lease = claim(job, HOLDER, clock=FakeClock())
    pulse = Pulse(job, lease, clock=FakeClock(), on_lost=lambda: None)
    pulse.planned(planned(job))

    pulse.writing()

    assert job.stop() is None


class SkewedClock(SystemClock):
    """That of a machine whose time is wrong by some hours."""

    def __init__(self, hours: float) -> None:
        self._skew = timedelta(hours=hours)

    def now(self) -> datetime:
        return super().now() + self._skew


@pytest.mark.parametrize(("creator", "worker"), [(0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)])
def test_a_deadline_counts_by_the_clock_of_the_store(tmp_path: Path, creator: float, worker: float) -> None:
    created_at = rfc3339(SkewedClock(creator).now())
    job = planned_job(rows(1), root=str(tmp_path), deadline_s=1800.0, created_at=created_at)
    clock = SkewedClock(worker)

    with Pulse(job, claim(job, HOLDER, clock=clock), clock=clock, on_lost=lambda: None):
        assert job.stop() is None
    old = tmp_path / "out" / "_job" / "spec.json"
    os.utime(old, (old.stat().st_mtime - 1800,) * 2)
    with Pulse(job, claim(job, HOLDER, clock=clock), clock=clock, on_lost=lambda: None):
        assert job.stop() is not None


@pytest.mark.slow
def test_a_pulse_beats_by_itself_turns_to_running_and_stops_at_the_deadline() -> None:
    job = planned_job(rows(3), deadline_s=1.0)
    lease = claim(job, HOLDER, clock=SystemClock())
    job.report_engine(EngineReport(1, "a", Phase.RUNNING, {"0": Tally(1)}))

    with Pulse(job, lease, clock=SystemClock(), on_lost=lambda: None) as pulse:
        pulse.planned(planned(job))
        Event().wait(3)

    heartbeat, stop = job.heartbeat(1), job.stop()
    assert heartbeat is not None
    assert (heartbeat.phase, heartbeat.progress.rows_done) == ("running", 1)
    assert stop is not None
    assert stop.state is StopState.EXPIRED


@pytest.mark.slow
def test_a_newer_attempt_is_noticed_once() -> None:
    job = planned_job(rows(3))
    lease = claim(job, HOLDER, clock=SystemClock())
    lost: list[bool] = []
    noticed = Event()

    def on_lost() -> None:
        lost.append(True)
        noticed.set()

    with Pulse(job, lease, clock=SystemClock(), on_lost=on_lost):
        job.create_epoch(Epoch(2, HOLDER, rfc3339(CREATED)))
        assert noticed.wait(10)

    assert lost == [True]


def test_a_stop_that_cannot_be_read_is_told_before_an_engine_starts() -> None:
    job = planned_job(rows(3))
    lease = claim(job, HOLDER, clock=FakeClock())
    open_store(job.uri).put("_job/stop.json", b"{cut")
    told = pytest.raises(CorruptRecord, match=r"stop.json: .* delete it, and stop the job again")
    with Pulse(job, lease, clock=FakeClock(), on_lost=lambda: None) as pulse, told:
        pulse.heed()


@pytest.mark.parametrize("is_handed_over", [False, True])
def test_a_stop_is_heeded_beside_an_engine_that_runs_until_all_is_its_own(is_handed_over: bool) -> None:
    job = planned_job(rows(3))
    pulse = Pulse(job, claim(job, HOLDER, clock=FakeClock()), clock=FakeClock(), on_lost=lambda: None)
    pulse.planned(planned(job))
    job.report_engine(EngineReport(1, "a", Phase.RUNNING, {"0": Tally(1)}))
    job.request_stop(Stop(StopState.CANCELLED, "enough", rfc3339(CREATED)))
    if is_handed_over:
        pulse.handed_over()

    with pulse, nullcontext() if is_handed_over else pytest.raises(JobStopped, match="enough"):
        pulse.heed()


def test_a_job_that_is_gone_at_its_deadline_is_lost_and_stopped_nowhere() -> None:
    job = planned_job(rows(3), deadline_s=1.0, created_at=rfc3339(CREATED))
    lease, lost = claim(job, HOLDER, clock=FakeClock()), Event()
    store = open_store(job.uri)
    for found in list(store.list("")):
        store.delete(found.key)
    with Pulse(job, lease, clock=FakeClock(), on_lost=lost.set):
        assert lost.wait(10)
    assert list(store.list("")) == []
