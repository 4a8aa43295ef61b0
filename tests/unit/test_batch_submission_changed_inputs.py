"""The same command on a job whose inputs are other ones by now: nothing is silently not run."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import CommandLine
from endings import end
from jobs import make_spec

from batch.errors import UsageError
from batch.jobs.store import JobStore
from batch.machine.launcher import Launcher
from batch.planning.plan import UNREAD, make_plan
from batch.records.objects import Stop, StopState
from batch.sdk.job import BatchInferenceJob

RUN = ("run", "data", "more.jsonl", "--model", "m", "--engine", "echo", "--output", "out", "--job-id", "job-1")


def row(name: str) -> str:
    return json.dumps({"custom_id": name, "prompt": "1 + 1?"}) + "\n"


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    (tmp_path / "data").mkdir()
    for name in ("data/a.jsonl", "data/b.jsonl", "more.jsonl"):
        (tmp_path / name).write_text(row(name))
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def job(call: CommandLine, tmp_path: Path) -> JobStore:
    """The job of the command, planned and not begun."""
    inputs = (f"file://{tmp_path}/data", f"file://{tmp_path}/more.jsonl")
    spec = make_spec(inputs=inputs, output=f"file://{tmp_path}/out")
    job = JobStore.open(spec.output)
    job.create_spec(spec)
    job.create_plan(make_plan(spec))
    return job


def append(folder: Path) -> None:
    with (folder / "data/b.jsonl").open("a") as file:
        file.write(row("c"))


def write_anew(folder: Path) -> None:
    os.utime(folder / "more.jsonl", ns=(1, 1))


def add(folder: Path) -> None:
    (folder / "data/c.jsonl").write_text(row("c"))


OTHERS = [
    (append, "data/b.jsonl has changed (50 bytes then, 89 now)"),
    (write_anew, "more.jsonl has changed ("),
    (add, "data/c.jsonl is new"),
]


@pytest.mark.parametrize(("change", "said"), OTHERS)
def test_an_ended_job_whose_input_is_another_one_is_refused_with_the_file_and_the_way_on(
    call: CommandLine, job: JobStore, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    end(job)
    before = call(*RUN)
    change(tmp_path)

    ended = call(*RUN)

    assert (before.code, ended.code, ended.out) == (0, 2, "")
    assert said in ended.err
    assert "another --output" in ended.err
    assert "batchctl results" in ended.err
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize(("change", "said"), OTHERS)
def test_an_unfinished_job_is_not_resumed_without_a_word_over_other_inputs(
    call: CommandLine, job: JobStore, tmp_path: Path, change: Callable[[Path], None], said: str
) -> None:
    change(tmp_path)

    ended = call(*RUN)

    assert ended.code == 2
    assert said in ended.err
    assert ("`batchctl resume" in ended.err) == (change is add)
    assert job.epoch_numbers() == []


def test_inputs_that_are_gone_leave_an_ended_job_as_it_is(call: CommandLine, job: JobStore, tmp_path: Path) -> None:
    end(job)
    (tmp_path / "data/a.jsonl").unlink()
    (tmp_path / "more.jsonl").unlink()

    assert call(*RUN).code == 0


def test_a_job_that_took_no_line_in_has_nothing_to_compare(call: CommandLine, job: JobStore, tmp_path: Path) -> None:
    (tmp_path / "out/_job/plan.json").unlink()
    job = JobStore.open(job.uri)
    job.create_plan(UNREAD)
    job.request_stop(Stop(StopState.CANCELLED, "enough", job.spec().created_at))
    end(job)
    append(tmp_path)

    assert call(*RUN).code == 3


def test_a_job_of_a_workspace_is_not_taken_for_one_over_its_changed_dataset(call: CommandLine, tmp_path: Path) -> None:
    assert call("create", "dataset", "in", "--external-url", str(tmp_path / "data"), "-w", "ws").code == 0

    def create() -> BatchInferenceJob:
        return BatchInferenceJob.create(
            "m", "in", job_id="j", workspace=str(tmp_path / "ws"), engine="echo", launcher=Launcher("this")
        )

    end_of = JobStore.open(create().url)
    end_of.create_plan(make_plan(end_of.spec()))
    end(end_of)
    assert create().state == "JOB_STATE_COMPLETED"
    append(tmp_path)

    with pytest.raises(UsageError, match=r"data/b\.jsonl has changed"):
        create()
