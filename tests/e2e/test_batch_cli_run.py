"""Whole jobs through the command line, with the echo engine: a real worker, real Ray, real interruptions."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from attempts import RAY_AGENTS
from processes import descendants
from terminal import wait_until

from pipelines.engine_process.service import TITLE

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parents[2]
BATCHCTL = (sys.executable, "-m", "batch")
ROWS = 2000


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHCTL_", "XDG_"))}
    return kept | {"HOME": str(folder), "PYTHONPATH": str(ROOT), "BATCHCTL_WORKSPACE": str(folder / "workspace")}


def batchctl(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return ended(folder, *BATCHCTL, *arguments)


def ended(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*BATCHCTL, *arguments],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def write_rows(path: Path, rows: int, *bad: str) -> None:
    body = {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}
    lines = [json.dumps({"custom_id": f"row-{number:05d}", "body": body}) for number in range(rows)]
    path.write_text("\n".join([*lines, *bad]) + "\n")


def wait_for(condition: "os.PathLike[str]", count: int, timeout_s: float = 120) -> None:
    """Wait until so many files lie in a folder."""
    until = time.monotonic() + timeout_s
    while len(list(Path(condition).glob("*"))) < count:
        assert time.monotonic() < until, f"{condition} did not fill"
        time.sleep(0.2)


def custom_ids(folder: Path, output: str, *flags: str) -> list[str]:
    streamed = batchctl(folder, "results", output, *flags)
    assert streamed.returncode == 0, streamed.stderr
    return [json.loads(line)["custom_id"] for line in streamed.stdout.splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder with a finished job in `out`, and what its command said."""
    folder = tmp_path_factory.mktemp("finished")
    write_rows(folder / "in.jsonl", 40, "not json \x1b[31m", "", '{"custom_id": "row-00000", "body": {"messages": []}}')
    return folder, batchctl(folder, *RUN)


RUN = ("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")
Finished = tuple[Path, subprocess.CompletedProcess[str]]


PYTHONS_RUN = """
import batch

for _ in range(2):
    run = batch.run(["in.jsonl"], model="m", output="out", engine="echo", inference_parameters={"max_tokens": 8})
    answers = [line["response"]["body"]["choices"][0]["message"]["content"] for line in run.results()]
    failures = [line["error"]["code"] for line in run.results(errors=True)]
    print(run.manifest.state.value, run.manifest.attempts, len(answers), set(answers), failures)
"""


def test_python_has_the_command_as_a_function(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", 30, "{")

    python = ended(tmp_path, sys.executable, "-c", PYTHONS_RUN)

    once = "COMPLETED 1 30 {'What is 2 + 3?'} ['malformed_json']\n"
    assert (python.returncode, python.stdout) == (0, 2 * once), python.stderr
    assert (
        batchctl(
            tmp_path, "run", "in.jsonl", "--model", "m", "--output", "out", "--engine", "echo", "--max-tokens", "8"
        ).returncode
        == 0
    )


def test_a_job_ends_with_a_summary(finished: Finished) -> None:
    folder, ended = finished

    assert ended.returncode == 0, ended.stderr
    assert "40 succeeded, 2 failed, 1 blank: 43 lines in" in ended.stdout
    assert "malformed_json 1" in ended.stdout
    assert f"{folder}/in.jsonl:41: " in ended.stdout
    assert f"{folder}/in.jsonl:43 (row-00000): " in ended.stdout
    assert f"{folder}/out/results (1 part" in ended.stdout
    assert f"log {folder}/out/_job/logs/attempt-00000001.log" in ended.stderr
    assert "starting engine" in ended.stderr
    assert "\x1b" not in ended.stdout + ended.stderr


def test_the_same_command_again_starts_nothing_and_prints_the_summary_again(finished: Finished) -> None:
    folder, first = finished

    again = batchctl(folder, *RUN)

    assert again.returncode == 0
    assert again.stdout == first.stdout
    assert "already ended" in again.stderr
    assert len(list((folder / "out" / "_job" / "epochs").glob("*.end.json"))) == 1


def test_the_same_command_as_json_is_one_object(finished: Finished) -> None:
    folder, _ = finished

    ended = batchctl(folder, *RUN, "-o", "json")

    told = json.loads(ended.stdout)
    assert (told["state"], told["succeeded"], told["failed"], told["exit_code"]) == ("COMPLETED", 40, 2, 0)
    assert {failure["code"] for failure in told["failures"]} == {"malformed_json", "duplicate_custom_id"}
    assert ended.stderr == ""


def test_another_job_in_the_same_output_is_refused_with_the_differing_field(finished: Finished) -> None:
    folder, _ = finished

    refused = batchctl(folder, *RUN, "--temperature", "0.5")

    assert refused.returncode == 2
    assert "temperature" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


def test_results_come_in_input_order(finished: Finished) -> None:
    folder, _ = finished

    assert custom_ids(folder, "out") == [f"row-{number:05d}" for number in range(40)]
    assert custom_ids(folder, str(folder / "out"), "--errors") == [None, "row-00000"]


def test_a_reader_that_leaves_early_is_no_error(finished: Finished) -> None:
    folder, _ = finished
    reading = start(folder, "results", "out")
    assert reading.stdout is not None
    reading.stdout.close()

    assert reading.wait(60) == 0
    assert reading.stderr is not None
    assert reading.stderr.read() == ""
    reading.stderr.close()


def test_a_finished_job_can_be_watched_and_its_log_read(finished: Finished) -> None:
    folder, first = finished

    watched = batchctl(folder, "watch", "out")
    log = batchctl(folder, "logs", "out")

    assert (watched.returncode, watched.stdout) == (0, first.stdout)
    assert log.returncode == 0
    assert log.stdout.strip()
    assert "\x1b" not in log.stdout


@pytest.fixture
def slow(tmp_path: Path) -> tuple[str, ...]:
    """A job of about a quarter of a minute, and the command for it."""
    write_rows(tmp_path / "in.jsonl", ROWS)
    return (*RUN, "--engine-arg", "delay_s=2")


@pytest.mark.slow
def test_a_job_survives_a_killed_worker_and_an_interrupt(tmp_path: Path, slow: tuple[str, ...]) -> None:
    commits, epochs = tmp_path / "out" / "_job" / "commits", tmp_path / "out" / "_job" / "epochs"

    first = start(tmp_path, *slow)
    wait_for(commits, 1)
    held = batchctl(tmp_path, *slow)
    holder = json.loads((epochs / "00000001.json").read_text())["holder"]
    os.kill(holder["pid"], signal.SIGKILL)
    _, err = first.communicate(timeout=60)

    assert held.returncode == 5
    assert f"process {holder['pid']}" in held.stderr
    assert first.returncode == 1
    assert "SIGKILL" in err
    assert "the same command resumes it" in err
    assert "attempt-00000001.log" in err

    second = start(tmp_path, *slow)
    wait_for(epochs, 2)
    time.sleep(5)
    second.send_signal(signal.SIGINT)
    _, err = second.communicate(timeout=60)

    assert second.returncode == 130, err
    assert "the same command resumes it" in err
    assert json.loads((epochs / "00000002.end.json").read_text())["exit"] == "interrupted"

    last = batchctl(tmp_path, "resume", "out", "-o", "json")

    assert last.returncode == 0, last.stderr
    assert json.loads(last.stdout)["succeeded"] == ROWS
    for line in last.stderr.splitlines():
        assert "phase" in json.loads(line)
    assert custom_ids(tmp_path, "out") == [f"row-{number:05d}" for number in range(ROWS)]


@pytest.mark.slow
def test_beside_an_engines_actor_ray_works_in_no_process(tmp_path: Path, slow: tuple[str, ...]) -> None:
    running = start(tmp_path, *slow)

    def commands() -> set[str]:
        return {found.command for found in descendants(running.pid) if not RAY_AGENTS.search(found.command)}

    wait_until(lambda: TITLE in commands(), "an actor has asked")
    working = {command.split("(")[0] for command in commands() if command.startswith("ray::")}
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)

    assert working == {"ray::MapWorker"}
    assert running.returncode == 130, err


@pytest.mark.slow
def test_a_cancelled_run_keeps_what_is_done_and_exits_with_3(tmp_path: Path, slow: tuple[str, ...]) -> None:
    running = start(tmp_path, *slow)
    wait_for(tmp_path / "out" / "_job" / "commits", 1)

    cancelled = batchctl(tmp_path, "cancel", "out", "--wait")
    out, err = running.communicate(timeout=120)

    assert cancelled.returncode == 3, cancelled.stderr
    assert running.returncode == 3, err
    assert "cancelled" in out
    done, rest = custom_ids(tmp_path, "out"), custom_ids(tmp_path, "out", "--errors")
    assert done
    assert rest
    assert Counter(done + rest) == Counter(f"row-{number:05d}" for number in range(ROWS))


@pytest.mark.slow
def test_a_deadline_expires_the_run_with_4(tmp_path: Path, slow: tuple[str, ...]) -> None:
    ended = batchctl(tmp_path, *slow, "--deadline", "1s")

    assert ended.returncode == 4, ended.stderr
    assert "deadline" in ended.stdout
    assert "expired" in ended.stdout


@pytest.mark.slow
def test_too_many_failed_rows_fail_the_run_with_1(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", 600, *["not json"] * 20)

    ended = batchctl(tmp_path, *RUN, "--max-failed-rows", "2%", "--engine-arg", "delay_s=5")

    assert ended.returncode == 1, ended.stderr
    assert "failed" in ended.stdout
    assert "2%" in ended.stdout


@pytest.mark.slow
def test_a_dataset_and_a_job_of_a_workspace(tmp_path: Path) -> None:
    write_rows(tmp_path / "in.jsonl", 30)

    created = batchctl(tmp_path, "create", "dataset", "my-requests", "in.jsonl", "-o", "json")
    job = ("create", "bij", "-m", "m", "-d", "my-requests", "-x", "answers", "--job-id", "j1", "--engine", "echo")
    ran = batchctl(tmp_path, *job, "--wait", "--wait-timeout", "3m")

    assert json.loads(created.stdout)["example_count"] == 30
    assert ran.returncode == 0, ran.stderr
    assert "30 succeeded" in ran.stdout
    assert json.loads(batchctl(tmp_path, "get", "bij", "j1", "-o", "json").stdout)["state"] == "JOB_STATE_COMPLETED"
    listed = batchctl(tmp_path, "list", "batch-inference-jobs", "--filter", "state=COMPLETED").stdout
    assert "j1" in listed
    assert "30/30" in listed
    assert len(custom_ids(tmp_path, "j1")) == 30
    assert batchctl(tmp_path, "download", "dataset", "answers", "--output-dir", "here").returncode == 0
    assert len((tmp_path / "here" / "results.jsonl").read_text().splitlines()) == 30
    assert batchctl(tmp_path, "delete", "batch-inference-job", "j1").returncode == 0
    assert batchctl(tmp_path, "get", "bij", "j1").returncode == 2
