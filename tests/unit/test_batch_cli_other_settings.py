"""Another try with other settings: of the rows that failed, and of a job that came to nothing."""

import shutil
import sys
from pathlib import Path

import pytest
from command_line import CommandLine
from endings import end
from engines import planned_job, rows

from batch.clock import SystemClock
from batch.jobs.lease import claim, this_process
from batch.jobs.store import JobStore
from batch.records.objects import Exit
from batch.result import Code
from batch.sdk.job import BatchInferenceJob
from batch.sdk.open_workspace import open_workspace
from batch.workspace.store import JobPointer

RETRY = ("resume", "out", "--retry-failed", "--output", "again")
CHANGES = ("--row-model", "ignore", "--max-tokens", "5", "--engine-arg", "delay_s=2", "--lora", "sum=adapter")
RUN = ("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A command line whose workers end at once."""
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def failed(tmp_path: Path) -> JobStore:
    """An ended job in `out`, one of whose rows failed."""
    job = planned_job(rows(3), root=str(tmp_path))
    end(job, {"r1": Code.TIMEOUT})
    return job


def test_failed_rows_are_tried_with_other_settings_and_the_new_spec_says_which(
    call: CommandLine, tmp_path: Path, failed: JobStore
) -> None:
    call(*RETRY, *CHANGES)

    old, new = failed.spec(), JobStore.open(str(tmp_path / "again")).spec()
    assert (new.row_model, new.parameters.max_tokens, new.lora) == ("ignore", 5, {"sum": "adapter"})
    assert new.engine_args == old.engine_args | {"delay_s": 2.0}
    assert new.changed_from == {
        "row_model": old.row_model,
        "parameters": old.parameters.to_dict(),
        "engine_args": old.engine_args,
        "lora": {},
    }
    assert new.continued_from == old.job_id
    assert old.changed_from == {}


def test_the_same_changes_again_are_the_same_job_and_others_are_another(call: CommandLine, failed: JobStore) -> None:
    first, again = call(*RETRY, *CHANGES), call(*RETRY, *CHANGES)
    other = call(*RETRY, "--max-tokens", "6")

    assert first.code == again.code == 1  # their workers
    assert (other.code, "row_model" in other.err) == (2, True)


def test_without_changes_the_new_spec_tells_none(call: CommandLine, tmp_path: Path, failed: JobStore) -> None:
    call(*RETRY, "--row-model", failed.spec().row_model)

    assert JobStore.open(str(tmp_path / "again")).spec().changed_from == {}


def test_a_job_of_a_workspace_is_tried_with_other_settings_too(call: CommandLine, failed: JobStore) -> None:
    open_workspace("ws").create_job(JobPointer(failed.spec().job_id, failed.uri))

    ended = call("-w", "ws", "resume", "bij", failed.spec().job_id, "--retry-failed", "--job-id", "j2", *CHANGES)

    job = BatchInferenceJob.get("j2", workspace=open_workspace("ws"))
    assert ended.code == 0, ended.err
    assert job is not None
    assert set(job.record.spec.changed_from) == {"row_model", "parameters", "engine_args", "lora"}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--max-tokens", "0"), "max_tokens"),
        (("--engine-arg", "dela_s=1"), "delay_s"),
        (("--engine-arg", "delay_s=1", "--engine-arg", "delay_s=2"), "given twice"),
        (("--lora", "a=x", "--lora", "a=y"), "given twice"),
    ],
)
def test_changes_that_cannot_be_are_refused(
    call: CommandLine, tmp_path: Path, failed: JobStore, flags: tuple[str, ...], words: str
) -> None:
    ended = call(*RETRY, *flags)

    assert (ended.code, len(ended.err.splitlines())) == (2, 1)
    assert words in ended.err
    assert not (tmp_path / "again").exists()


@pytest.mark.parametrize("flag", [CHANGES[i : i + 2] for i in range(0, len(CHANGES), 2)], ids=lambda flag: flag[0])
def test_other_settings_go_with_retry_failed_only(call: CommandLine, failed: JobStore, flag: tuple[str, ...]) -> None:
    ended = call("resume", "out", *flag)

    assert (ended.code, f"{flag[0]} goes with --retry-failed" in ended.err) == (2, True)


def tried(tmp_path: Path, how: Exit | None) -> JobStore:
    """A job in `out` whose first attempt ended so; None: it goes on."""
    (tmp_path / "in.jsonl").write_text('{"custom_id": "a", "body": {"messages": []}}\n')
    job = JobStore.open(str(tmp_path / "out"))
    lease = claim(job, this_process(), clock=SystemClock())
    if how is not None:
        lease.end(how, "The engine did not start.")
    return job


def begin(call: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"custom_id": "a", "body": {"messages": []}}\n')
    assert call(*RUN).code == 1  # its worker ends before it claims the job


@pytest.mark.parametrize("how", [Exit.FAILED, Exit.INTERRUPTED])
def test_a_job_that_came_to_nothing_starts_again_with_other_settings(
    call: CommandLine, tmp_path: Path, how: Exit
) -> None:
    begin(call, tmp_path)
    first = tried(tmp_path, how).spec()

    ended = call(*RUN, "--max-tokens", "7")

    stored = JobStore.open(str(tmp_path / "out"))
    assert ended.code == 1
    assert f"warning: {first.job_id} had left no answer there: it is removed." in ended.err
    assert stored.spec().parameters.max_tokens == 7
    assert stored.spec().life != first.life
    assert stored.epoch_numbers() == []


def test_the_same_settings_go_on_with_it(call: CommandLine, tmp_path: Path) -> None:
    begin(call, tmp_path)
    tried(tmp_path, Exit.FAILED)

    assert "warning" not in call(*RUN).err
    assert JobStore.open(str(tmp_path / "out")).epoch_numbers() == [1]


@pytest.mark.parametrize("trace", ["nobody has tried it", "an attempt runs", "a commit", "an answer"])
def test_a_job_that_may_be_worth_something_stays(call: CommandLine, tmp_path: Path, trace: str) -> None:
    begin(call, tmp_path)
    if trace != "nobody has tried it":
        tried(tmp_path, None if trace == "an attempt runs" else Exit.FAILED)
    places = {"a commit": "_job/commits/00000000.json", "an answer": "_job/journal/00000001/a-000000.jsonl.zst"}
    if trace in places:
        (tmp_path / "out" / places[trace]).parent.mkdir(parents=True)
        (tmp_path / "out" / places[trace]).write_text("x")
    before = (tmp_path / "out" / "_job" / "spec.json").read_bytes()

    ended = call(*RUN, "--max-tokens", "7")

    assert ended.code == 2
    assert "max_tokens" in ended.err
    assert (tmp_path / "out" / "_job" / "spec.json").read_bytes() == before
