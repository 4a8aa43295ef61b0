"""`batch.run`, with workers that answer nothing; whole jobs stand in tests/e2e/test_batch_cli_run.py."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import batch
from batch.errors import InvalidInput, JobFailed, JobHeld, UsageError
from batch.jobs.store import JobStore
from batch.machine.launcher import Launcher
from batch.sdk.run import Run

DIES = "import sys; sys.exit(1)"
FINDS_IT_HELD = "import sys; sys.exit(5)"
NOTES_AN_INTERRUPTION = """
import pathlib, sys, time
try:
    pathlib.Path("is-up").touch()
    time.sleep(600)
except KeyboardInterrupt:
    pathlib.Path("interrupted").touch()
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("dies", DIES), ("held", FINDS_IT_HELD), ("waits", NOTES_AN_INTERRUPTION)):
        (tmp_path / f"worker_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    body = {"messages": [{"role": "user", "content": "2 + 3?"}], "model": "m"}
    path.write_text("".join(json.dumps({"custom_id": f"r{n}", "body": body}) + "\n" for n in range(3)))
    return path


def run(rows: Path, module: str, *, model: str = "m", output: str = "out", **options: Any) -> Run:
    return batch.run(rows, model=model, output=output, engine="echo", launcher=Launcher(module), **options)


def test_a_worker_that_dies_is_a_failed_job_that_names_its_log(rows: Path) -> None:
    with pytest.raises(JobFailed, match=r"^job-\w{12}: its worker ended with exit status 1 \(log: .*0001.log\)\.$"):
        run(rows, "worker_dies")


def test_a_job_that_another_attempt_runs_is_held(rows: Path) -> None:
    with pytest.raises(JobHeld, match="is run by another attempt"):
        run(rows, "worker_held")


def test_rows_that_all_fail_for_one_setting_are_refused_before_a_worker_starts(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--row-model ignore"):
        run(rows, "worker_waits", model="another")
    assert not (tmp_path / "is-up").exists()
    assert not (tmp_path / "out").exists()


def test_quarantine_starts_such_a_job_and_warns_of_the_line_that_called(rows: Path) -> None:
    with pytest.warns(UserWarning, match="the first 3 rows fail for one reason") as warned, pytest.raises(JobFailed):
        run(rows, "worker_dies", model="another", on_invalid="quarantine")
    assert {warning.filename for warning in warned} == {__file__}


def test_with_fail_one_bad_line_is_told_with_its_place(rows: Path, tmp_path: Path) -> None:
    rows.write_text(rows.read_text() + "{\n")
    with pytest.raises(InvalidInput, match="1 line is invalid") as caught:
        run(rows, "worker_waits", on_invalid="fail")
    assert [(failure.place.line, failure.code) for failure in caught.value.failures] == [(4, "malformed_json")]
    assert not (tmp_path / "is-up").exists()


def test_another_input_for_the_same_id_is_refused(rows: Path, tmp_path: Path) -> None:
    with pytest.raises(JobFailed):
        run(rows, "worker_dies", job_id="nightly")
    other = rows.rename(tmp_path / "other.jsonl")
    JobStore.open(f"file://{tmp_path}/out").keep_answers(1, "e", 0, b"an answer")  # else it would be replaced
    with pytest.raises(UsageError, match=r"other\.jsonl"):
        run(other, "worker_dies", job_id="nightly")


@pytest.mark.parametrize(
    ("option", "refusal"),
    [
        ({"carry": "answer"}, r"^carry='answer': expected a list of texts$"),
        ({"served_model_names": ["m", 3]}, r"^served_model_names=\['m', 3\]: expected a list of texts$"),
        ({"deadline_s": "24h"}, r"^deadline_s='24h': expected a number of seconds$"),
        ({"deadline": 60}, r"^there is no option 'deadline': is deadline_s meant\?$"),
        ({"max_failed_rows": "many"}, r"^max_failed_rows='many': expected a number of rows or a share"),
    ],
)
def test_what_would_be_misread_is_refused(rows: Path, option: dict[str, Any], refusal: str) -> None:
    with pytest.raises(UsageError, match=refusal):
        run(rows, "worker_waits", **option)


def test_options_may_be_written_as_python_has_them(rows: Path) -> None:
    with pytest.raises(JobFailed):
        run(rows, "worker_dies", max_failed_rows=3, carry=["custom_id"], served_model_names=["m"], deadline_s=3600)
    spec = JobStore.open(f"file://{rows.parent}/out").spec()
    assert (spec.max_failed_rows, spec.carry, spec.served_model_names) == ("3", ("custom_id",), ("m",))


def test_an_interruption_ends_the_worker_first(rows: Path, tmp_path: Path) -> None:
    with _interrupted_when(tmp_path / "is-up"), pytest.raises(KeyboardInterrupt):
        run(rows, "worker_waits")
    assert (tmp_path / "interrupted").exists()


@contextmanager
def _interrupted_when(path: Path) -> Iterator[None]:
    """Interrupt this process, as Ctrl-C does, as soon as there is a file."""

    def look(signum: int, frame: FrameType | None) -> None:
        if path.exists():
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
