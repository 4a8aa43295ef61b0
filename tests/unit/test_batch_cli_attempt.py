"""The command beside its worker, when the store does not let it look."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from engines import planned_job, rows
from faults import Verb, Wrapped

from batch.cli.attempt import show_until_end
from batch.cli.output.outcome import Launch, Log, Outcome
from batch.cli.output.progress import open_display
from batch.jobs.store import JobStore
from batch.records.objects import Stop, StopState
from connectors.errors import Forbidden, StoreError, Unavailable
from connectors.stores.registry import open_store

T = TypeVar("T")

AT = "2026-01-01T00:00:00Z"

EXPIRED = Forbidden("s3://b/out/_job/spec.json: ExpiredToken (access denied: check the credentials)")
AWAY = Unavailable("s3://b/out/_job/spec.json: 503 (gave up after 41 tries in 600.0 s)")


class Refusing(Wrapped):
    """Answers until it is told why not."""

    refusal: StoreError | None = None

    def _do(self, verb: Verb, key: str, operation: Callable[[], T]) -> T:
        if self.refusal is not None:
            raise self.refusal
        return operation()


@pytest.mark.parametrize("refusal", [EXPIRED, AWAY])
def test_a_command_that_may_not_look_waits_for_its_worker_and_says_how_to_go_on(
    refusal: StoreError, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Refusing(open_store(planned_job(rows(1)).uri))
    job = JobStore(store)
    job.spec()
    store.refusal = refusal
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]) as worker:
        show_until_end(worker, job, display=open_display(io.StringIO(), as_json=True), attempts_before=0)
        assert worker.poll() == 1

    code = Outcome(job, Launch(job.uri, None, None), Log.at(tmp_path / "log"), as_json=False).tell(1)

    said = capsys.readouterr().err
    assert code == 1
    assert str(refusal) in said
    assert "the same command resumes it" in said


def test_a_command_whose_place_another_job_has_waits_for_its_worker_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = planned_job(rows(1), root=str(tmp_path), token="1f")
    store = open_store(job.uri)
    for found in list(store.list("")):
        store.delete(found.key)
    planned_job(rows(1), root=str(tmp_path), token="2e").request_stop(Stop(StopState.CANCELLED, "stopped", AT))
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]) as worker:
        show_until_end(worker, job, display=open_display(io.StringIO(), as_json=True), attempts_before=0)
        assert worker.poll() == 1

    assert Outcome(job, Launch(job.uri, None, None), Log.at(tmp_path / "log"), as_json=False).tell(1) == 1
    assert "was emptied, or given to another job, while it ran" in capsys.readouterr().err
