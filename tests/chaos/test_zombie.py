"""A worker that is frozen until another attempt has ended its job, and then goes on where it stood."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from answer_server import AnswerServer
from attempts import RAY_AGENTS, Attempts, check_gone, send
from chaos.conftest import Watch
from long_run import long_only
from processes import Process
from terminal import Terminal, clean_environment, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

ROWS = 600  # two shards: one that is committed before the freeze, one whose last rows wait
FIRST_SHARD = 512
ENDS_WITHIN_S = 30.0
READ_BY_PEOPLE = ("results/", "errors/", "manifest.json", "_job/commits/", "_job/spec", "_job/plan", "_job/journal/")


@pytest.fixture
def server() -> Iterator[AnswerServer]:
    with AnswerServer(holds=lambda prompt: int(prompt.split()[-1]) >= FIRST_SHARD) as found:
        yield found


@pytest.fixture
def attempts(tmp_path: Path, server: AnswerServer, watch: Watch) -> Attempts:
    rows = (orjson.dumps({"custom_id": f"row-{n:05d}", "prompt": f"number {n}"}) for n in range(ROWS))
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    terminal = Terminal(tmp_path, clean_environment(tmp_path))
    engine = ("--engine", "openai", "--engine-arg", f"base_url={server.base_url}")
    words = ("run", "in.jsonl", "--model", "m", *engine, "--output", "out")
    return watch(Attempts(terminal, words, str(tmp_path / "out")))


@pytest.mark.parametrize("frozen", ["everything", pytest.param("worker", marks=long_only)])
def test_a_worker_that_wakes_up_after_its_job_has_ended_changes_nothing(
    frozen: str, attempts: Attempts, server: AnswerServer
) -> None:
    """`everything`: as when a machine is suspended. `worker`: its engine goes on until it sees the newer attempt."""
    asleep = attempts.begin()
    wait_until(lambda: len(attempts.commits()) == 1 and server.asked == ROWS, "the last shard's rows in flight")
    zombies = [process for process in attempts.family() if process.pid != asleep.pid]
    stopped = zombies if frozen == "everything" else attempts.worker()
    send(stopped, signal.SIGSTOP)
    stopped_at_s = time.monotonic()

    attempts.running = None
    attempts.begin()
    print(f"taken over after {time.monotonic() - stopped_at_s:.0f} s of silence")
    server.release()
    code, said = attempts.end()
    assert code == 0, said
    check_output(attempts, attempts_made=2)
    assert all(process.is_alive for process in stopped)

    before = attempts.objects(*READ_BY_PEOPLE)
    send(stopped[::-1], signal.SIGCONT)
    check_it_leaves(asleep, zombies)
    assert attempts.objects(*READ_BY_PEOPLE) == before
    check_output(attempts, attempts_made=2)
    attempts.check_nothing_is_left()


def check_it_leaves(command: subprocess.Popen[str], zombies: list[Process]) -> None:
    """By itself, and the command that started it tells the end that it finds: the other attempt's."""
    out, err = command.communicate(timeout=ENDS_WITHIN_S)
    assert (command.returncode, err.count("held by")) == (0, 0), err
    assert f"{ROWS} succeeded" in out
    ours = [process for process in zombies if not RAY_AGENTS.search(process.command)]
    check_gone(lambda: [process for process in ours if process.is_alive], ENDS_WITHIN_S)


def check_output(attempts: Attempts, *, attempts_made: int) -> None:
    parts = attempts.objects("results/")
    rows = [orjson.loads(line) for key in sorted(parts) for line in parts[key].splitlines()]
    assert [row["custom_id"] for row in rows] == [f"row-{n:05d}" for n in range(ROWS)]
    assert [row["response"]["body"]["choices"][0]["text"] for row in rows] == [f"number {n}" for n in range(ROWS)]
    manifest = orjson.loads(attempts.store.get("manifest.json"))
    assert (manifest["state"], manifest["succeeded"], manifest["attempts"]) == ("COMPLETED", ROWS, attempts_made)
    assert {part["key"] for part in manifest["results"]} == set(parts)
