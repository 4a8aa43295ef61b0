"""Jobs that end before all their rows ran: what is done is kept, the rest is counted, and the command says which."""

import json
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from terminal import Output, Terminal, wait_until

from batch.clock import SystemClock
from batch.jobs.store import JobStore
from batch.records.state import JobState

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 2500
RUN = ("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")


def write_rows(terminal: Terminal, *first: str, count: int = ROWS) -> None:
    rows = [json.dumps({"custom_id": f"row-{n:05d}", "prompt": f"number {n}"}) for n in range(count)]
    (terminal.folder / "in.jsonl").write_text("\n".join([*first, *rows]) + "\n")


def check_rest(output: Output, *, state: str, code: str) -> Counter[str]:
    """Every row is answered, or failed with the code of the state; return the failures by code."""
    manifest = output.manifest()
    results, errors = output.rows("results"), output.rows("errors")
    codes = Counter(row["error"]["code"] for row in errors)
    assert manifest["state"] == state
    assert manifest["failed_by_code"] == dict(codes)
    assert manifest["lines"] == manifest["succeeded"] + manifest["failed"] == len(results) + len(errors)
    assert manifest["succeeded"] == len(results)
    assert codes[code] > 0
    for row in results:
        assert row["response"]["body"]["choices"][0]["text"] == f"number {int(row['custom_id'][4:])}"
    rest = [row["custom_id"] for row in errors if row["error"]["code"] == code]
    assert sorted([row["custom_id"] for row in results] + rest) == [f"row-{n:05d}" for n in range(ROWS)]
    return codes


def test_a_running_job_is_held_and_can_be_cancelled(terminal: Terminal) -> None:
    write_rows(terminal)
    command = (*RUN, "--engine-arg", "delay_s=2")
    output = Output(terminal.folder / "out")
    running = terminal.start(*command)
    wait_until(output.commits, "a shard is committed")
    done = output.commits()

    held = terminal.run(*command)
    cancelled = terminal.run("cancel", "out")
    said, told = running.communicate(timeout=120)

    assert held.returncode == 5
    holder: dict[str, Any] = json.loads((terminal.folder / "out/_job/epochs/00000001.json").read_bytes())["holder"]
    assert f"on {holder['host']} (process {holder['pid']})" in held.stderr
    assert len(output.attempts()) == 1
    assert cancelled.returncode == 0, cancelled.stderr
    assert running.returncode == 3, told
    codes = check_rest(output, state="CANCELLED", code="cancelled")
    assert set(codes) == {"cancelled"}
    assert output.commits().items() >= done.items()
    assert "cancelled" in said
    assert f"{ROWS - codes['cancelled']:,} succeeded, {codes['cancelled']:,} failed" in said

    again = terminal.run(*command)

    assert (again.returncode, again.stdout) == (3, said)


def test_what_was_answered_before_an_interruption_outlives_a_cancel(person: dict[str, str], tmp_path: Path) -> None:
    terminal, output = Terminal(tmp_path, person), Output(tmp_path / "out")
    write_rows(terminal)
    running = terminal.start(*RUN, "--engine-arg", "delay_s=5")
    wait_until(lambda: any(tally.rows for report in output.reports() for tally in report.open.values()), "answers")
    running.send_signal(signal.SIGINT)
    _, told = running.communicate(timeout=120)

    cancelled = terminal.run("cancel", "out", "--wait")

    assert running.returncode == 130, told
    assert cancelled.returncode == 3, cancelled.stderr
    check_rest(output, state="CANCELLED", code="cancelled")
    assert output.manifest()["succeeded"] >= 256
    assert not list(output.folder.glob("_job/engines/00000002/*"))  # no engine was there


def test_a_deadline_expires_what_is_left(terminal: Terminal) -> None:
    write_rows(terminal)

    ended = terminal.run(*RUN, "--engine-arg", "delay_s=3", "--deadline", "9s")

    assert ended.returncode == 4, ended.stderr
    check_rest(Output(terminal.folder / "out"), state="EXPIRED", code="expired")
    assert "The deadline of 9 s has passed." in ended.stdout


def test_an_error_budget_that_is_spent_fails_the_job_and_keeps_what_is_done(terminal: Terminal) -> None:
    write_rows(terminal, *["not json"] * 11)

    ended = terminal.run(*RUN, "--engine-arg", "delay_s=2", "--max-failed-rows", "10")

    assert ended.returncode == 1, ended.stderr
    codes = check_rest(Output(terminal.folder / "out"), state="FAILED", code="cancelled")
    assert codes["malformed_json"] == 11
    assert "11 rows failed; --max-failed-rows 10 allows 10." in ended.stdout


@pytest.mark.parametrize(
    ("good", "budget", "state", "said"),
    [
        (1, ("--max-failed-rows", "3"), "FAILED", "12 rows failed; --max-failed-rows 3 allows 3."),
        (0, (), "COMPLETED", "No row succeeded: 12 failed with malformed_json."),
    ],
)
def test_rows_that_fail_before_any_heartbeat_count_at_the_end(
    terminal: Terminal, good: int, budget: tuple[str, ...], state: str, said: str
) -> None:
    write_rows(terminal, *["not json"] * 12, count=good)

    ended = terminal.run(*RUN, *budget)

    assert ended.returncode == 1, ended.stderr
    assert Output(terminal.folder / "out").manifest()["state"] == state
    assert said in ended.stdout


def test_an_input_that_changes_under_a_job_fails_it_with_the_reason(terminal: Terminal) -> None:
    write_rows(terminal, count=10 * ROWS)  # more shards than are open at once
    output = Output(terminal.folder / "out")
    running = terminal.start(*RUN, "--engine-arg", "delay_s=1")
    wait_until(output.commits, "a shard is committed")
    write_rows(terminal, "{}")

    said, told = running.communicate(timeout=120)

    assert running.returncode == 1
    assert "in.jsonl changed after the job was planned" in said + told
    assert "start a new job" in said + told
    assert "Traceback" not in said + told
    assert "UDF" not in said + told
    assert JobStore.open(str(output.folder)).record(SystemClock().now()).state is JobState.FAILED
    assert not (output.folder / "manifest.json").exists()


def test_a_job_none_of_whose_rows_can_reach_an_engine_starts_none_and_closes_its_ledger(terminal: Terminal) -> None:
    (terminal.folder / "model").mkdir()
    (terminal.folder / "model" / "config.json").write_text("{}")  # no engine can start with this
    (terminal.folder / "in.jsonl").write_text('{"custom_id": "a", "body": {"model": "other", "messages": []}}\n' * 600)
    run = ("run", "in.jsonl", "--model", "model", "--output", "out", "--on-invalid", "quarantine")

    ended = terminal.run(*run)

    assert ended.returncode == 1, ended.stderr
    assert "warning: the first 600 rows fail for one reason: " in ended.stderr
    manifest = Output(terminal.folder / "out").manifest()
    assert (manifest["state"], manifest["succeeded"]) == ("COMPLETED", 0)
    assert manifest["failed_by_code"] == {"duplicate_custom_id": 599, "model_mismatch": 1}
    assert manifest["engine"] == {"name": "vllm", "version": "", "config": {}}
