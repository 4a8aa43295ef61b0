"""Looking at jobs that somebody else runs: results, logs, watch, and how an attempt's end is told."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import jobs
import pytest
from command_line import CommandLine
from faults import Verb, Wrapped
from jobs import HOLDER, FakeClock, Worker, make_commit, make_heartbeat, make_spec

from batch.cli.output.outcome import Launch, Log, Outcome
from batch.clock import SystemClock, parse_rfc3339, rfc3339
from batch.jobs.store import JobStore
from batch.planning.plan import make_plan
from batch.records.manifest import Closing, FinalState, close_ledger
from batch.records.objects import AttemptEnd, Epoch, Exit, Progress, Stop, StopState
from batch.sdk.open_workspace import open_workspace
from batch.spec.job_spec import JobSpec
from batch.workspace.store import JobPointer
from connectors.errors import Unavailable
from connectors.stores.registry import open_store

AT = "2026-01-31T11:30:00.000000Z"
T = TypeVar("T")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def spec(tmp_path: Path) -> JobSpec:
    rows = [json.dumps({"custom_id": f"row-{i}", "body": {"messages": []}}) for i in range(5)]
    (tmp_path / "in.jsonl").write_text("\n".join([*rows, "not \x1b[31mjson"]) + "\n")
    inputs, output = (f"file://{tmp_path}/in.jsonl",), f"file://{tmp_path}/out"
    return make_spec(inputs=inputs, output=output, shard_rows=2, id_field=None)


@pytest.fixture
def job(spec: JobSpec) -> JobStore:
    job_store = JobStore.open(spec.output)
    job_store.create_spec(spec)
    return job_store


def finish(job: JobStore, spec: JobSpec) -> None:
    assert Worker(job, "w1", FakeClock()).run(spec, make_plan(spec)) is not None


def started(job: JobStore, end: AttemptEnd | None = None) -> None:
    job.create_epoch(Epoch(1, HOLDER, AT, {}))
    if end is not None:
        job.end_attempt(end)


def test_results_of_a_running_job_are_those_of_its_committed_shards(
    call: CommandLine, job: JobStore, spec: JobSpec
) -> None:
    job.create_plan(make_plan(spec))
    part = job.write_part("results", 1, attempt="a", lines=[b'{"custom_id":"row-2"}', b'{"custom_id":"row-3"}'])
    committed = make_commit(1, 2)
    job.commit(type(committed)(1, 1, "a", part, None, 2))

    ended = call("results", "out")

    assert ended.code == 0
    assert [json.loads(line)["custom_id"] for line in ended.out.splitlines()] == ["row-2", "row-3"]


def test_a_job_is_found_by_its_id_too(call: CommandLine, job: JobStore, spec: JobSpec) -> None:
    finish(job, spec)
    open_workspace("ws").create_job(JobPointer(spec.job_id, spec.output))

    by_id = call("results", spec.job_id, "-w", "ws")
    by_name = call("-w", "ws", "results", f"accounts/local/batchInferenceJobs/{spec.job_id}")

    assert len(by_id.out.splitlines()) == 5
    assert by_name.out == by_id.out
    assert call("results", "out").out == by_id.out


def test_the_summary_tells_the_retries_of_all_attempts_where_there_were_any(
    call: CommandLine, job: JobStore, spec: JobSpec
) -> None:
    finish(job, spec)
    calm, calm_json = call("watch", spec.output), call("watch", spec.output, "-o", "json")
    job.beat(replace(make_heartbeat(epoch=1), progress=Progress(retries=1_200)))
    job.create_epoch(Epoch(2, HOLDER, AT, {}))
    job.beat(replace(make_heartbeat(epoch=2), progress=Progress(retries=34)))
    busy, busy_json = call("watch", spec.output), call("watch", spec.output, "-o", "json")

    assert "retries" not in calm.out
    assert "  retries 1,234 calls to a store tried again" in busy.out
    assert [json.loads(told.out)["retries"] for told in (calm_json, busy_json)] == [0, 1234]


def test_watching_a_finished_job_prints_its_summary_with_escaped_examples(
    call: CommandLine, job: JobStore, spec: JobSpec, tmp_path: Path
) -> None:
    finish(job, spec)

    ended = call("watch", "out")

    assert ended.code == 0
    assert "5 succeeded, 1 failed, 0 blank: 6 lines in" in ended.out
    assert f"{tmp_path}/in.jsonl:6: " in ended.out
    assert "\x1b" not in ended.out


def test_watching_a_failed_attempt_says_why_and_how_to_go_on(call: CommandLine, job: JobStore) -> None:
    started(job, AttemptEnd(1, Exit.FAILED, "Out of GPU memory.", AT))

    ended = call("watch", "out")

    assert ended.code == 1
    assert "Out of GPU memory; `batchctl resume " in ended.err


def test_waiting_has_a_limit(call: CommandLine, job: JobStore) -> None:
    started(job)
    job.beat(make_heartbeat(at=rfc3339(SystemClock().now())))  # somebody works on it: no worker is started to end it

    ended = call("cancel", "out", "--wait", "--wait-timeout", "0.1s")

    assert ended.code == 1
    assert "CANCELLING after 0.1 s" in ended.err
    assert job.stop() is not None


def test_logs_print_the_latest_attempt_escaped(call: CommandLine, job: JobStore, tmp_path: Path) -> None:
    started(job)
    job.create_epoch(Epoch(2, HOLDER, AT, {}))
    folder = tmp_path / "out" / "_job" / "logs"
    folder.mkdir()
    (folder / "attempt-00000001.log").write_text("first\n")
    (folder / "attempt-00000002.log").write_bytes(b"second \x1b[31m\xff\n")

    ended = call("logs", "out")

    assert ended.out == "second \\x1b[31m�\n"


def test_a_job_without_a_log_says_so(call: CommandLine, job: JobStore) -> None:
    ended = call("logs", "out")

    assert ended.code == 2
    assert "no log" in ended.err


def outcome(job: JobStore, folder: Path, *, as_json: bool = False) -> Outcome:
    log = folder / "attempt.log"
    log.write_text("of the attempt before\n")
    noted = Log.at(log)
    with log.open("a") as stream:
        stream.write("last words \x1b[0m\n")
    return Outcome(job, Launch(job.uri, None, None), noted, as_json)


def test_a_worker_that_died_is_told_with_its_log(
    job: JobStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started(job)

    code = outcome(job, tmp_path).tell(-9)

    shown = capsys.readouterr().err
    assert code == 1
    assert "SIGKILL" in shown
    assert "  | last words \\x1b[0m\n" in shown
    assert "before" not in shown
    assert f"log: {tmp_path}/attempt.log" in shown
    assert "the same command resumes it" in shown


def test_an_attempt_that_failed_is_told_by_its_own_words(
    job: JobStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started(job, AttemptEnd(1, Exit.FAILED, "Input in.jsonl changed.", AT))

    assert outcome(job, tmp_path).tell(1) == 1
    shown = capsys.readouterr().err
    assert "Input in.jsonl changed" in shown
    assert len(shown.splitlines()) == 1


def test_what_the_same_command_cannot_mend_is_not_told_to_be_resumed(
    job: JobStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started(job, AttemptEnd(1, Exit.FAILED, "out/_job/plan.json: cut; delete it.", AT, resumable=False))

    assert outcome(job, tmp_path).tell(1) == 1
    assert "resumes" not in capsys.readouterr().err


def test_a_job_whose_place_was_emptied_is_told_as_that(
    job: JobStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    started(job)
    store = open_store(job.uri)
    for found in list(store.list("")):
        store.delete(found.key)

    assert outcome(job, tmp_path).tell(-9) == 1
    said = capsys.readouterr().err
    assert "was emptied, or given to another job, while it ran" in said
    assert "resumes" not in said


def test_a_store_that_is_out_of_reach_at_the_end_is_told_with_what_goes_on(
    job: JobStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Away(Wrapped):
        is_away = False

        def _do(self, verb: Verb, key: str, operation: Callable[[], T]) -> T:
            if self.is_away:
                raise Unavailable("s3://b/out: 503 (gave up after 41 tries in 600.0 s)")
            return operation()

    store = Away(open_store(job.uri))
    away = JobStore(store)
    away.spec()
    store.is_away = True

    assert outcome(away, tmp_path).tell(1) == 1
    said = capsys.readouterr().err
    assert "gave up after 41 tries in 600.0 s" in said
    assert "the same command resumes it" in said


def test_a_held_job_names_its_holder(job: JobStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started(job)

    assert outcome(job, tmp_path).tell(5) == 5
    assert f"{HOLDER.host} (process {HOLDER.pid}) since {AT}" in capsys.readouterr().err


def test_a_job_that_was_taken_over_and_has_ended_is_told_by_its_ledger(
    job: JobStore, spec: JobSpec, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finish(job, spec)

    assert outcome(job, tmp_path).tell(5) == 0
    assert "completed" in capsys.readouterr().out


@pytest.mark.parametrize("exit_status", [130, -2])
def test_an_interrupted_worker_is_no_failure(
    job: JobStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], exit_status: int
) -> None:
    assert outcome(job, tmp_path, as_json=True).tell(exit_status) == 130

    captured = capsys.readouterr()
    assert json.loads(captured.out)["exit_code"] == 130
    assert captured.err == ""


@pytest.mark.parametrize(("state", "code"), [(StopState.FAILED, 1), (StopState.CANCELLED, 3), (StopState.EXPIRED, 4)])
def test_a_job_that_was_stopped_says_why_and_exits_by_its_state(
    call: CommandLine, job: JobStore, spec: JobSpec, state: StopState, code: int
) -> None:
    stop = job.request_stop(Stop(state, "Enough is enough.", AT))
    plan, commits = jobs.make_plan(), {0: make_commit(0, 3), 1: make_commit(1, 2)}
    closing = Closing(jobs.ENGINE, attempts=1, started_at=AT, finished_at=AT)
    ledger = close_ledger(spec, plan, commits=commits, stop=stop, closing=closing)
    job.create_manifest(replace(ledger, state=FinalState(state)))

    told = call("resume", "out", "-o", "json")

    assert told.code == code
    assert json.loads(told.out)["message"] == "Enough is enough."
    assert json.loads(told.out)["state"] == state.value


def test_progress_of_a_record_is_escaped_and_short(job: JobStore, spec: JobSpec) -> None:
    from batch.cli.output.progress import view

    job.create_plan(make_plan(spec))
    started(job, AttemptEnd(1, Exit.INTERRUPTED, "stopped \x1b[2J" + "x" * 500, AT))

    shown = view(job.record(datetime(2026, 1, 31, 12, tzinfo=UTC)))

    assert shown.rows_total == 6
    assert "\x1b" not in shown.message
    assert len(shown.message) <= 120


def test_the_times_of_a_job_are_rfc_3339_in_json(call: CommandLine, job: JobStore, spec: JobSpec) -> None:
    finish(job, spec)
    open_workspace("ws").create_job(JobPointer(spec.job_id, spec.output))

    shown = json.loads(call("-w", "ws", "get", "bij", spec.job_id, "-o", "json").out)
    listed = json.loads(call("-w", "ws", "list", "bij", "-o", "json").out)["batch_inference_jobs"][0]

    assert shown == listed
    for name in ("create_time", "update_time"):
        assert rfc3339(parse_rfc3339(shown[name])) == shown[name]
