"""A job's output inside an input folder: its results and errors are no input, of it or of another job."""

from pathlib import Path
from uuid import uuid4

import pytest
from command_line import CommandLine
from endings import end
from engines import file_content, row
from jobs import make_spec

from batch.jobs.store import JobStore
from batch.planning.plan import make_plan
from batch.submission.changed_inputs import refuse_other_inputs
from connectors.stores.registry import open_store

VALIDATE = ("validate", "data", "--model", "m")


def job_inside(folder: str) -> JobStore:
    """A job over the folder with one row that succeeds and one bad line, run to its end; its output lies in there."""
    open_store(folder).put("a.jsonl", file_content([row("r1"), b"no json"]))
    spec = make_spec(inputs=(folder,), output=f"{folder}/runs/out")
    job = JobStore.open(spec.output)
    job.create_spec(spec)
    job.create_plan(make_plan(spec))
    end(job)
    assert (len(list(job.lines("results"))), len(list(job.lines("errors")))) == (1, 1)
    return job


@pytest.fixture(params=["file", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"file://{tmp_path}/data" if request.param == "file" else f"memory://inputs-{uuid4().hex}/data"


def test_another_job_over_the_folder_reads_only_what_was_put_there(folder: str) -> None:
    job_inside(folder)
    told: list[str] = []

    plan = make_plan(make_spec(inputs=(folder,), output=f"{folder}/runs/other"), tell=told.append)

    assert [planned.file.uri for planned in plan.inputs] == [f"{folder}/a.jsonl"]
    assert told == [f"{folder}/runs/out is a job's output: its files are left out of the input folder that it lies in"]


def test_the_same_job_again_finds_no_new_input(folder: str) -> None:
    job = job_inside(folder)
    refuse_other_inputs(job, job.spec())


def test_the_results_are_read_when_they_are_named(folder: str) -> None:
    job = job_inside(folder)
    plan = make_plan(make_spec(inputs=(f"{job.uri}/results/*",), output=f"{folder}/runs/other"))
    assert len(plan.inputs) == 1


def test_the_command_line_names_what_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_inside(f"file://{tmp_path}/data")

    ended = CommandLine(tmp_path, monkeypatch, capsys)(*VALIDATE)

    assert f"warning: {job.uri} is a job's output" in ended.err
    assert ended.out.count("/data/") == 1  # the bad line of a.jsonl; a line of errors/ would be another
