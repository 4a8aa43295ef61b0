"""Failed rows run again as a job of their own: both ledgers add up, and every row has its answer once."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from terminal import Output, Terminal, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 1500
RUN = ("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")
BAD = ["not json", "", json.dumps({"custom_id": "row-00000", "prompt": "number 0"})]


def write_rows(terminal: Terminal) -> None:
    rows = [json.dumps({"custom_id": f"row-{n:05d}", "prompt": f"number {n}"}) for n in range(ROWS)]
    (terminal.folder / "in.jsonl").write_text("\n".join([*rows[:700], *BAD, *rows[700:]]) + "\n")


def contents(folder: Path) -> dict[Path, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def failures(output: Output) -> dict[tuple[str, int, int], str]:
    """(file, line, offset) -> code of each failed row."""
    errors = [row["error"] for row in output.rows("errors")]
    return {(error["file"], error["line"], error["offset"]): error["code"] for error in errors}


def check_ledgers(old: Output, new: Output) -> dict[str, Any]:
    """Rows that succeeded there and here, and those that failed still, are the rows of the old job, each once."""
    before, after = old.manifest(), new.manifest()
    taken: dict[str, Any] = after["continued_from"]
    left = sum(taken["left_by_code"].values())
    assert before["lines"] == before["blank"] + before["succeeded"] + before["failed"]
    assert after["lines"] == taken["retried"] == after["succeeded"] + after["failed"]
    assert (taken["job_id"], taken["output"]) == (before["job_id"], f"file://{old.folder}")
    assert taken["succeeded"] == before["succeeded"]
    assert taken["succeeded"] + after["succeeded"] + after["failed"] + left == before["lines"] - before["blank"]
    answered = [row["custom_id"] for output in (old, new) for row in output.rows("results")]
    assert sorted(answered) == [f"row-{n:05d}" for n in range(ROWS)]
    for row in new.rows("results"):
        assert row["response"]["body"]["choices"][0]["text"] == f"number {int(row['custom_id'][4:])}"
    assert failures(new).items() <= failures(old).items()
    return taken


def test_failed_rows_are_run_again_with_codes_and_without(terminal: Terminal) -> None:
    write_rows(terminal)
    old = Output(terminal.folder / "out")
    running = terminal.start(*RUN, "--engine-arg", "delay_s=2")
    wait_until(old.commits, "a shard is committed")
    early = terminal.run("resume", "out", "--retry-failed", "--output", "early")
    terminal.run("cancel", "out")
    _, told = running.communicate(timeout=120)
    assert running.returncode == 3, told
    before = contents(old.folder)
    cancelled = old.manifest()["failed_by_code"]["cancelled"]

    retry = ("resume", "out", "--retry-failed", "--ray-address", terminal.ray, "--output")
    some = terminal.run(*retry, "some", "cancelled")
    every = terminal.run(*retry, "every")
    again = terminal.run(*retry, "every")

    assert early.returncode == 2
    assert "has not ended" in early.stderr
    assert (some.returncode, every.returncode) == (0, 0), some.stderr + every.stderr
    with_code = check_ledgers(old, Output(terminal.folder / "some"))
    assert with_code["left_by_code"] == {"duplicate_custom_id": 1, "malformed_json": 1}
    assert f"{cancelled:,} succeeded, 0 failed, 0 blank: {cancelled:,} lines in" in some.stdout
    without = check_ledgers(old, Output(terminal.folder / "every"))
    assert without["left_by_code"] == {}
    rest = Counter(failures(Output(terminal.folder / "every")).values())
    assert rest == {"duplicate_custom_id": 1, "malformed_json": 1}
    assert (again.returncode, again.stdout) == (0, every.stdout)
    assert contents(old.folder) == before


def test_a_job_of_a_workspace_is_continued_in_the_background(terminal: Terminal) -> None:
    (terminal.folder / "in.jsonl").write_text('{"custom_id": "a", "prompt": "number 0"}\nnot json\n')
    workspace = terminal.folder / "workspace"
    attempt = ("--wait", "--ray-address", terminal.ray, "-w", str(workspace))
    made = terminal.run("create", "dataset", "questions", "in.jsonl", "-w", str(workspace))
    first = ("create", "bij", "--job-id", "first", "-m", "m", "-d", "questions", "--engine", "echo")
    ran = terminal.run(*first, *attempt)

    ended = terminal.run("resume", "bij", "first", "--retry-failed", "--job-id", "second", *attempt)
    shown = json.loads(terminal.run("get", "bij", "second", "-w", str(workspace), "-o", "json").stdout)
    continued = ("create", "bij", "--continue-from", "accounts/local/batchInferenceJobs/first", "--job-id", "third")
    refused = terminal.run(*continued, "--top-p", "0.5", *attempt)
    other_model = terminal.run(*continued, "-m", "other", *attempt)
    third = terminal.run(*continued, "-m", "m", *attempt)

    assert (made.returncode, ran.returncode, ended.returncode) == (0, 0, 1), made.stderr + ran.stderr + ended.stderr
    assert "0 succeeded, 1 failed, 0 blank: 1 lines in" in ended.stdout
    assert shown["continued_from_job_name"] == "accounts/local/batchInferenceJobs/first"
    assert Output(workspace / "datasets" / "second").manifest()["failed_by_code"] == {"malformed_json": 1}
    assert (refused.returncode, other_model.returncode, third.returncode) == (2, 2, 1), third.stderr
    assert "--top-p does not go with --continue-from" in refused.stderr
    assert "--model does not go with --continue-from" in other_model.stderr
    assert Output(workspace / "datasets" / "third").manifest()["failed_by_code"] == {"malformed_json": 1}
