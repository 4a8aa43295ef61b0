"""`resume --retry-failed` before a worker starts: what is refused, in one sentence and without a trace."""

from pathlib import Path

import pytest
from command_line import CommandLine
from endings import end
from engines import planned_job, rows

from batch.jobs.store import JobStore
from batch.result import Code


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def job(tmp_path: Path) -> JobStore:
    """A job in `out` that has not begun."""
    return planned_job(rows(3), root=str(tmp_path))


RETRY = ("resume", "out", "--retry-failed", "--output", "again")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resume", "out", "timeout"), "timeout goes with --retry-failed"),
        (("resume", "out", "--output", "again"), "--output goes with --retry-failed"),
        (("resume", "bij", "j1", "--job-id", "j2"), "--job-id goes with --retry-failed"),
        (("resume", "bij", "j1", "--retry-failed"), "no batch inference job 'j1'"),
        (("create", "bij", "--continue-from", "j1"), "no batch inference job 'j1'"),
        (("create", "bij", "-d", "questions"), "--model is missing"),
        (("create", "bij", "-m", "m"), "--input-dataset-id is missing"),
        (("resume", "out", "--retry-failed"), "--output"),
        (("resume", "elsewhere/out", "--retry-failed", "--output", "again"), "elsewhere/out"),
        ((*RETRY, "timeuot"), "'timeuot' is no code of failed rows: expected one of malformed_json,"),
        ((*RETRY, "internal"), "No row of job-1 failed with internal; its rows failed with: timeout 1."),
        ((*RETRY[:-1], "out"), "belongs to another job"),
        ((*RETRY[:-1], "ftp://host/out"), "ftp://host/out"),
    ],
)
def test_a_retry_that_cannot_be_is_refused(
    call: CommandLine, tmp_path: Path, job: JobStore, arguments: tuple[str, ...], words: str
) -> None:
    end(job, {"r1": Code.TIMEOUT})
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    ended = call(*arguments)

    assert ended.code == 2
    assert words in ended.err
    assert (ended.out, len(ended.err.splitlines())) == ("", 1)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_job_that_has_not_ended_is_not_retried(call: CommandLine, tmp_path: Path, job: JobStore) -> None:
    ended = call(*RETRY)

    assert ended.code == 2
    assert f"job-1 has not ended, so more of its rows may fail: `batchctl resume {job.uri}` goes on" in ended.err
    assert not (tmp_path / "again").exists()


def test_an_input_that_changed_is_not_retried(call: CommandLine, tmp_path: Path, job: JobStore) -> None:
    end(job, {"r1": Code.TIMEOUT})
    with (tmp_path / "in.jsonl").open("a") as stream:
        stream.write("{}\n")

    ended = call(*RETRY)

    assert ended.code == 2
    assert "in.jsonl is not the file that job-1 read" in ended.err
    assert not (tmp_path / "again").exists()
