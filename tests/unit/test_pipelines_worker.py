"""One attempt's process, as far as it goes without a cluster."""

import subprocess
import sys
import time
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import uuid4

import pytest
from endings import end
from engines import planned_job, row, rows
from jobs import ENGINE, HOLDER, FakeClock, make_commit

from batch.clock import SystemClock
from batch.errors import InvalidInput, JobHeld, JobNotFound
from batch.jobs.lease import claim, this_process
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.records.manifest import Closing, close_ledger
from batch.records.objects import Heartbeat, Holder, Progress, Stop, StopState
from batch.result import Code
from batch.submission.retry_failed import continue_spec
from connectors.stores.registry import open_store
from pipelines.attempt.heartbeat import JobStopped, Pulse
from pipelines.run import plan_job
from pipelines.site import Site
from pipelines.worker import attend, parse_order

WORKER = (sys.executable, "-m", "pipelines.worker")
CLOSING = Closing(ENGINE, 1, "2026-01-31T11:00:00.000000Z", "2026-01-31T12:00:00.000000Z")


def stored_job(*lines: object, root: str | None = None, **spec: Any) -> JobStore:
    """A job whose inputs are there and whose plan is not."""
    job = planned_job(lines, root=root, **spec)
    open_store(job.uri).delete("_job/plan.json")
    return JobStore.open(job.uri)


def pulse_of(job: JobStore) -> Pulse:
    return Pulse(job, claim(job, HOLDER, clock=FakeClock()), clock=FakeClock(), on_lost=lambda: None)


def attempt(uri: str) -> int:
    return attend(uri, Site(), on_lost=lambda lease: None)


def ended_job(state: StopState | None) -> JobStore:
    job = planned_job(rows(2))
    plan = job.plan()
    assert plan is not None
    stop = Stop(state, "enough", CLOSING.finished_at) if state else None
    job.create_manifest(close_ledger(job.spec(), plan, commits={0: make_commit(0, 2)}, stop=stop, closing=CLOSING))
    return job


@pytest.mark.parametrize(
    ("state", "code"),
    [(None, 0), (StopState.FAILED, 1), (StopState.CANCELLED, 3), (StopState.EXPIRED, 4)],
)
def test_an_ended_job_is_left_as_it_is_and_tells_its_state(state: StopState | None, code: int) -> None:
    job = ended_job(state)

    assert attempt(job.uri) == code
    assert job.epoch_numbers() == []


def test_a_job_that_is_held_is_left_alone() -> None:
    job = planned_job(rows(2))
    claim(job, this_process(), clock=SystemClock())
    ended = Event()

    def beat() -> None:
        for number in count(2):
            job.beat(Heartbeat(1, number, CLOSING.started_at, Phase.RUNNING, Progress(10, 4, 1)))
            if ended.wait(0.1):
                return

    holder = Thread(target=beat)
    holder.start()
    try:
        with pytest.raises(JobHeld, match=r"process \d+, since .*5 of 10 rows done"):
            attempt(job.uri)
    finally:
        ended.set()
        holder.join()

    assert job.epoch_numbers() == [1]


def test_no_job_is_told_by_its_address() -> None:
    with pytest.raises(JobNotFound, match="memory://nothing"):
        attempt(f"memory://nothing-{uuid4().hex}/out")


def test_the_plan_is_made_once_and_then_read() -> None:
    job = stored_job(*rows(5), shard_rows=2)
    pulse = pulse_of(job)

    plan = plan_job(job, pulse, engines=1)
    open_store(job.spec().inputs[0].rpartition("/")[0]).put("in.jsonl", b"other\n")

    assert len(plan.shards) == 3
    assert plan_job(JobStore.open(job.uri), pulse, engines=1) == plan


def test_scattered_rows_are_brought_together_for_engines_that_see_few_each() -> None:
    job = stored_job(*(row(f"r{number}", f"{number % 50} " * 400 + str(number)) for number in range(200)))

    plan = plan_job(job, pulse_of(job), engines=4)

    assert plan.copies
    assert plan.rows == sum(shard.rows for shard in plan.shards) == 200
    assert job.plan() == plan


def test_many_engines_get_smaller_shards() -> None:
    lines = [row(f"r{number}", prompt=f"{number:04d}" * 1000) for number in range(256)]  # a megabyte

    def shards(engines: int) -> int:
        job = stored_job(*lines)
        return len(plan_job(job, pulse_of(job), engines=engines).shards)

    assert shards(1) < shards(2) <= 2 * shards(1) + 1
    assert shards(64) == shards(2)  # none smaller than 32 KiB


def test_bad_lines_refuse_a_job_that_asked_for_it_before_its_plan_stands() -> None:
    job = stored_job(row("a"), b"{broken", row("a"), on_invalid="fail")

    with pytest.raises(InvalidInput, match=r"in\.jsonl:2: malformed_json: .*`batchctl validate`") as raised:
        plan_job(job, pulse_of(job), engines=1)

    assert [failure.place.line for failure in raised.value.failures] == [2, 3]
    assert raised.value.exit_code == 2
    assert job.plan() is None


def test_a_job_without_bad_lines_may_ask_for_it() -> None:
    job = stored_job(*rows(3), b"", on_invalid="fail")

    assert plan_job(job, pulse_of(job), engines=1).rows == 3


def test_a_job_that_continues_another_plans_its_failed_rows_only() -> None:
    old = planned_job(rows(3), on_invalid="fail")
    end(old, {"r1": Code.TIMEOUT})
    job = JobStore.open(f"{old.uri}-2")
    job.create_spec(continue_spec(old, job_id="job-2", output=job.uri, created_at=old.spec().created_at))

    plan = plan_job(job, pulse_of(job), engines=1)

    assert [(shard.index, shard.spans[0].only) for shard in plan.shards] == [(0, (2,))]
    assert JobStore.open(job.uri).plan() == plan


@pytest.mark.parametrize(("state", "code"), [(StopState.CANCELLED, 3), (StopState.EXPIRED, 4), (StopState.FAILED, 1)])
def test_a_job_that_is_to_end_starts_nothing_and_its_ledger_closes(state: StopState, code: int) -> None:
    job = planned_job([*rows(700), b"not json"])
    job.request_stop(Stop(state, "enough", CLOSING.started_at))

    assert attempt(job.uri) == code

    manifest = JobStore.open(job.uri).manifest()
    assert manifest is not None
    assert (manifest.state, manifest.succeeded, manifest.failed) == (state.value, 0, 701)
    assert job.engine_reports(1) == []


def test_a_deadline_that_has_passed_is_noticed_before_anything_is_read() -> None:
    job = stored_job(*rows(3), deadline_s=1.0)

    assert attempt(job.uri) == 4

    manifest = JobStore.open(job.uri).manifest()
    assert manifest is not None
    assert (manifest.state, manifest.lines) == ("EXPIRED", 0)


@pytest.mark.parametrize(
    "spec",
    [{}, {"on_invalid": "fail"}],
)
def test_planning_ends_when_the_job_is_to_end(spec: dict[str, Any]) -> None:
    job = stored_job(*rows(3), **spec)
    job.request_stop(Stop(StopState.CANCELLED, "enough", CLOSING.started_at))

    with pulse_of(job) as pulse, pytest.raises(JobStopped, match="enough"):
        plan_job(job, pulse, engines=1)

    assert JobStore.open(job.uri).plan() is None


def test_the_process_says_what_is_wrong_in_one_line_and_its_exit_code(tmp_path: Path) -> None:
    ended = subprocess.run([*WORKER, "--job", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False)

    assert ended.returncode == 2
    assert f"no job under file://{tmp_path}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_foreground_worker_leaves_when_its_parent_does_and_takes_nothing_over(tmp_path: Path) -> None:
    job = planned_job(rows(2), root=str(tmp_path))
    claim(job, Holder("another-host", 1), clock=FakeClock())  # it is waited for, as long as it may be alive
    worker = subprocess.Popen(
        [*WORKER, "--job", job.uri, "--foreground"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert worker.stdin is not None
    time.sleep(3)
    assert worker.poll() is None

    worker.stdin.close()

    assert worker.wait(20) == 130
    assert job.epoch_numbers() == [1]


@pytest.mark.parametrize(
    ("line", "order"),
    [
        (b'{"job": "file:///out"}\n', ("file:///out", None)),
        (b'{"job": "file:///out", "replicas": null}', ("file:///out", None)),
        (b'{"job": "file:///out", "replicas": "1:4"}', ("file:///out", "1:4")),
        (b'{"job": "file:///out", "replicas": 2}', ("file:///out", "2")),
    ],
)
def test_an_order_names_a_job_and_maybe_its_engines(line: bytes, order: tuple[str, str | None]) -> None:
    assert parse_order(line) == order
