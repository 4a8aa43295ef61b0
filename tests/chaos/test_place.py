"""An output whose folder is deleted, emptied or given away under a running job, and a store that is out of reach."""

import shutil
import signal
import time
from pathlib import Path
from uuid import uuid4

import orjson
import pytest
from attempts import Attempts, send
from chaos.conftest import Watch
from fault_proxy import FaultProxy
from long_run import long_only
from stores import BUCKET
from terminal import Output, Terminal, clean_environment, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]

ROWS = 1500
STRAYS = 5000
ENDS_WITHIN_S = 60.0


def write_rows(folder: Path, name: str) -> None:
    rows = (orjson.dumps({"custom_id": f"{name}-{n:05d}", "prompt": f"{name} {n}"}) for n in range(ROWS))
    (folder / f"{name}.jsonl").write_bytes(b"\n".join(rows) + b"\n")


def words(name: str, *more: str, delay_s: float = 0.0) -> tuple[str, ...]:
    engine = ("--engine", "echo", "--engine-arg", f"delay_s={delay_s}")
    return ("run", f"{name}.jsonl", "--model", "m", *engine, *more)


def answers(output: Output) -> list[str]:
    return [row["response"]["body"]["choices"][0]["text"] for row in output.rows("results")]


@pytest.mark.parametrize("sleeps", [False, pytest.param(True, marks=long_only)])
def test_a_job_in_the_place_of_one_that_still_runs_has_its_own_rows(sleeps: bool, tmp_path: Path, watch: Watch) -> None:
    """`sleeps`: as when a machine is suspended; it wakes up when the other one has ended."""
    terminal, folder = Terminal(tmp_path, clean_environment(tmp_path)), tmp_path / "out"
    for name in ("old", "new"):
        write_rows(tmp_path, name)
    old = watch(Attempts(terminal, words("old", "--output", "out", delay_s=2.0), str(folder)))
    running = old.begin()
    wait_until(old.busy_engines, "rows in flight")
    family = [process for process in old.family() if process.pid != running.pid]
    if sleeps:
        send(family, signal.SIGSTOP)
    shutil.rmtree(folder)

    new = terminal.run(*words("new", "--output", "out"))
    assert new.returncode == 0, new.stderr
    manifest = (folder / "manifest.json").read_bytes()
    if sleeps:
        send(family[::-1], signal.SIGCONT)
    out, said = running.communicate(timeout=ENDS_WITHIN_S)

    assert running.returncode == 1, out + said
    assert "was emptied, or given to another job" in said
    assert "resumes" not in said
    assert answers(Output(folder)) == [f"new {n}" for n in range(ROWS)]
    assert (folder / "manifest.json").read_bytes() == manifest
    assert orjson.loads(manifest)["inputs"][0]["uri"].endswith("new.jsonl")
    old.running = None
    old.check_nothing_is_left()


def test_a_folder_that_is_deleted_under_its_job_stays_deleted(tmp_path: Path, watch: Watch) -> None:
    terminal, folder = Terminal(tmp_path, clean_environment(tmp_path)), tmp_path / "out"
    write_rows(tmp_path, "old")
    attempts = watch(Attempts(terminal, words("old", "--output", "out", delay_s=2.0), str(folder)))
    running = attempts.begin()
    wait_until(attempts.busy_engines, "rows in flight")
    shutil.rmtree(folder)

    _, said = running.communicate(timeout=ENDS_WITHIN_S)
    assert (running.returncode, "was emptied" in said) == (1, True), said
    attempts.running = None
    attempts.check_nothing_is_left()
    assert not folder.exists()


def test_results_that_are_deleted_under_their_job_are_run_again(tmp_path: Path, watch: Watch) -> None:
    terminal, folder = Terminal(tmp_path, clean_environment(tmp_path)), tmp_path / "out"
    write_rows(tmp_path, "old")
    attempts = watch(Attempts(terminal, words("old", "--output", "out", delay_s=1.0), str(folder)))
    attempts.begin()
    wait_until(attempts.commits, "the first commit")
    shutil.rmtree(folder / "results")
    code, said = attempts.end()
    assert code == 1
    assert "is not there" in said
    assert "the same command resumes it" in said
    assert not (folder / "manifest.json").exists()

    again = terminal.run(*words("old", "--output", "out", delay_s=1.0))
    assert again.returncode == 0, again.stderr
    assert answers(Output(folder)) == [f"old {n}" for n in range(ROWS)]


def test_who_is_stopped_while_he_tidies_up_says_how_the_job_has_ended(tmp_path: Path, watch: Watch) -> None:
    terminal, folder = Terminal(tmp_path, clean_environment(tmp_path)), tmp_path / "out"
    write_rows(tmp_path, "old")
    attempts = watch(Attempts(terminal, words("old", "--output", "out", delay_s=1.0), str(folder)))
    running = attempts.begin()
    wait_until(attempts.busy_engines, "rows in flight")
    (folder / "results").mkdir(exist_ok=True)
    for number in range(STRAYS):  # as those of attempts that lost
        (folder / f"results/part-00000-stray-{number}.jsonl").write_bytes(b"{}\n")
    wait_until((folder / "manifest.json").exists, "the ledger")
    running.send_signal(signal.SIGTERM)
    code, said = attempts.end()
    assert (code, f"{ROWS:,} succeeded" in said) == (0, True), said
    assert answers(Output(folder)) == [f"old {n}" for n in range(ROWS)]


@long_only
@pytest.mark.cloud
@pytest.mark.parametrize("away_s", [20.0, 60.0, 300.0])
def test_a_store_that_was_away_ends_no_attempt(away_s: float, tmp_path: Path, s3_endpoint: str, watch: Watch) -> None:
    write_rows(tmp_path, "old")
    place = f"s3://{BUCKET}/{uuid4().hex}/out"
    with FaultProxy(s3_endpoint) as proxy:
        environment = clean_environment(tmp_path, AWS_ENDPOINT_URL=proxy.endpoint)
        command = words("old", "--output", place, "--journal-every", "1s", delay_s=4.0)
        attempts = watch(Attempts(Terminal(tmp_path, environment), command, place))
        running = attempts.begin()
        wait_until(attempts.busy_engines, "rows in flight")
        proxy.is_away = True
        time.sleep(away_s)
        assert running.poll() is None, running.communicate()
        proxy.is_away = False
        code, said = attempts.end(600)
    assert code == 0, said
    manifest = orjson.loads(attempts.store.get("manifest.json"))
    assert (manifest["state"], manifest["succeeded"], manifest["attempts"]) == ("COMPLETED", ROWS, 1)
