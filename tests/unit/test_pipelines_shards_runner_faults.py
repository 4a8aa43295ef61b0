"""A row may meet any exception on its way: it fails, and its job goes on."""

import pytest
from engines import ScriptedEngine, answered, output, planned_job, rows, run_job

from batch.errors import JobFailed
from batch.result import Usage
from batch.rows.request import Request
from pipelines.engines.base import Answer


def test_whatever_a_row_makes_an_engine_raise_fails_that_row_only() -> None:
    def script(request: Request, times: int) -> Answer:
        if request.custom_id == "r1":
            raise AttributeError("no such thing \ud800\x1b[2J\nand more")
        return answered(request)

    job = planned_job(rows(3))

    (commit,) = run_job(job, ScriptedEngine(script))

    assert (commit.succeeded, commit.failed_by_code) == (2, {"internal": 1})
    (line,) = output(job, "errors")
    assert line["custom_id"] == "r1"
    assert line["error"]["message"] == r"AttributeError: no such thing \ud800\x1b[2J"
    assert line["response"]["status_code"] == 500


def test_an_answer_that_cannot_be_written_fails_its_row_only() -> None:
    def script(request: Request, times: int) -> Answer:
        return Answer(200, 5 if request.custom_id == "r1" else b"{}", Usage(2, 1))  # type: ignore[arg-type]

    job = planned_job(rows(3))

    (commit,) = run_job(job, ScriptedEngine(script))

    assert (commit.succeeded, commit.failed_by_code, commit.usage) == (2, {"internal": 1}, Usage(4, 2))
    (line,) = output(job, "errors")
    assert (line["custom_id"], line["error"]["line"], line["response"]) == ("r1", 2, None)


def test_an_engine_that_says_why_the_job_must_end_is_heard() -> None:
    def script(request: Request, times: int) -> Answer:
        raise JobFailed("the key was revoked")

    with pytest.raises(ExceptionGroup) as raised:
        run_job(planned_job(rows(3)), ScriptedEngine(script))

    assert raised.group_contains(JobFailed, match="revoked")


def test_the_log_tells_a_kind_of_fault_once_and_nothing_of_the_row(caplog: pytest.LogCaptureFixture) -> None:
    def script(request: Request, times: int) -> Answer:
        raise (KeyError if request.custom_id == "r0" else ValueError)(request.body)

    run_job(planned_job(rows(4)), ScriptedEngine(script))

    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [message.partition(" ")[0] for message in told] == ["KeyError", "ValueError"]
    assert all(", in script\n" in message and "1 + 1?" not in message for message in told)
