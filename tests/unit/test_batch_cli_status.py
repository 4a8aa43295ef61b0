"""How a job stands: `status`, the end of `watch` when nobody works, and a log that is followed while it grows."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command_line import CommandLine
from jobs import FakeClock, Worker, make_heartbeat, make_spec

from batch.clock import SystemClock, rfc3339
from batch.jobs.lease import this_process
from batch.jobs.store import JobStore
from batch.phases import Phase
from batch.planning.plan import make_plan
from batch.records.objects import AttemptEnd, EngineLoad, EngineReport, Epoch, Exit, Holder, Progress
from batch.sdk.open_workspace import open_workspace
from batch.spec.parameters import InferenceParameters
from batch.workspace.store import JobPointer

ROOT = Path(__file__).parents[2]
AT = "2026-01-31T11:30:00.000000Z"
LOG = "_job/logs/attempt-00000001.log"
GONE = replace(this_process(), pid=2**22 + 1, process_started="1")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def job(tmp_path: Path) -> JobStore:
    rows = [json.dumps({"custom_id": f"row-{i}", "body": {"messages": []}}) for i in range(5)]
    (tmp_path / "in.jsonl").write_text("\n".join(rows) + "\n")
    spec = make_spec(
        inputs=(f"file://{tmp_path}/in.jsonl",),
        output=f"file://{tmp_path}/out",
        shard_rows=2,
        id_field=None,
        engine_args={"delay_s": 2.0},
        lora={"sum": "adapters/sum"},
        parameters=InferenceParameters(max_tokens=5, extra_body={"seed": 7}),
    )
    job_store = JobStore.open(spec.output)
    job_store.create_spec(spec)
    return job_store


def running(job: JobStore, holder: Holder) -> None:
    """An attempt that has answered three of five rows, as it says of itself now."""
    job.create_plan(make_plan(job.spec()))
    job.create_epoch(Epoch(1, holder, AT, {}))
    progress = Progress(5, 2, 1, 30, 12, rows_per_s=1.5, prompt_tokens_per_s=22.0, completion_tokens_per_s=9.0, eta_s=4)
    job.beat(replace(make_heartbeat(at=rfc3339(SystemClock().now())), phase=Phase.RUNNING, progress=progress))
    load = EngineLoad(running=1, waiting=2, kv_cache_use=0.25, preemptions=3)
    job.report_engine(EngineReport(1, "a", Phase.RUNNING, in_flight=3, in_line=4, load=load))
    (Path(job.uri.removeprefix("file://")) / LOG).parent.mkdir()
    (Path(job.uri.removeprefix("file://")) / LOG).write_text("first\n")


def test_a_status_says_all_that_one_asks_of_a_running_job(call: CommandLine, job: JobStore, tmp_path: Path) -> None:
    running(job, this_process())

    lines = call("status", "out").out.splitlines()

    assert (
        lines[0] == f"{job.spec().job_id} running: attempt 1, process {os.getpid()} on {this_process().host} since {AT}"
    )
    assert lines[1:] == [
        "  rows    3 of 5 done (60 %): 2 succeeded, 1 failed",
        "  speed   1.5 rows/s, 22 tokens/s in, 9 out; 4.0 s left",
        "  engine  running: 3 rows in flight, 4 in line; KV cache 25 % used, 2 waiting in the engine, 3 preemptions",
        f"  model   {job.spec().model}, sum=adapters/sum",
        "  runs on echo delay_s=2.0",
        '  asked   max_tokens=5, extra_body={"seed": 7}',
        f"  inputs  {tmp_path}/in.jsonl",
        f"  output  {tmp_path}/out",
        f"  log     {tmp_path}/out/{LOG}",
    ]


def test_a_status_in_json_has_a_name_for_each_of_it(call: CommandLine, job: JobStore) -> None:
    running(job, this_process())
    open_workspace("ws").create_job(JobPointer(job.spec().job_id, job.uri))

    shown = json.loads(call("-w", "ws", "status", job.spec().job_id, "-o", "json").out)

    assert (shown["state"], shown["rows_done"], shown["rows_total"], shown["eta_s"]) == ("RUNNING", 3, 5, 4.0)
    assert shown["engines"][0]["kv_cache_use"] == 0.25
    assert shown["inference_parameters"] == {"max_tokens": 5, "extra_body": {"seed": 7}}
    assert shown["idle"] is None


def test_a_status_of_an_ended_job_tells_its_ledger(call: CommandLine, job: JobStore) -> None:
    assert Worker(job, "w1", FakeClock()).run(job.spec(), make_plan(job.spec())) is not None

    shown = json.loads(call("status", "out", "-o", "json").out)

    assert (shown["state"], shown["succeeded"], shown["rows_total"]) == ("COMPLETED", 5, 5)
    assert (shown["rows_per_s"], shown["engines"], shown["idle"], shown["log"]) == (None, [], None, "")
    assert call("status", "out").code == 0


def interrupted(job: JobStore) -> None:
    running(job, this_process())
    job.end_attempt(AttemptEnd(1, Exit.INTERRUPTED, "Interrupted.", AT))


def silent(job: JobStore) -> None:
    running(job, Holder("elsewhere", 7))
    job.beat(make_heartbeat(at=AT))


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        (lambda job: None, "no attempt was started"),
        (interrupted, "attempt 1 was interrupted"),
        (lambda job: running(job, GONE), f"attempt 1 ended early: process {GONE.pid} on {GONE.host} is gone"),
        (silent, f"process 7 on elsewhere has been silent since {AT}"),
    ],
)
def test_a_watch_ends_with_the_reason_when_nobody_works(
    call: CommandLine, job: JobStore, tmp_path: Path, prepare: "object", why: str
) -> None:
    assert callable(prepare)
    prepare(job)

    ended = call("watch", "out")

    assert ended.code == 1
    assert f"nobody works on it, {why}; `batchctl resume {tmp_path}/out` goes on with it." in ended.err
    assert f"  idle    nobody works on it, {why}" in call("status", "out").out


def test_a_followed_log_is_printed_as_it_grows_until_the_attempt_ends(job: JobStore, tmp_path: Path) -> None:
    running(job, this_process())
    log = tmp_path / "out" / LOG
    command = [sys.executable, "-m", "batch", "logs", "-f", "out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1"}

    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stdout.readline() == "first\n"
        with log.open("a") as stream:
            stream.write("second\nhalf a li")
        assert following.stdout.readline() == "second\n"
        with log.open("a") as stream:
            stream.write("ne\nlast")
        job.end_attempt(AttemptEnd(1, Exit.INTERRUPTED, "Interrupted.", AT))
        rest = following.stdout.read()

    assert rest == "half a line\nlast\n"
    assert following.returncode == 0
