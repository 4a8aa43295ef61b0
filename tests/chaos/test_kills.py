"""kill -9 of an engine's actor and its host, of the worker and the command, at random moments; and at last Ctrl-C.

One row's answer is withheld until the kills are over, so that the job cannot end before. The rows are scattered: those
that share a prefix stand far from each other, so that they are copied into another order first, and their results are
written a second time, in the input's. The same command is given again each time. The seed is printed;
BATCHCTL_TEST_SEED repeats a run. `BATCHCTL_TESTS=long` kills each of them; without it two, drawn, since the kill series
kills all of them, of rows in their own order.
"""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from answer_server import AnswerServer
from long_run import LONG
from processes import Process, descendants
from terminal import Output, Terminal, clean_environment, wait_until

from batch.records.objects import EngineReport, decode_record
from pipelines.engine_process.service import TITLE

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

ROWS = 9000
SUBJECTS = 2000
VICTIMS = ("actor", "worker", "command", "host", "worker")
KILLS = len(VICTIMS) if LONG else 2
ENGINES = {"actor": "ray::MapWorker", "host": TITLE}
HELD, INTERRUPTED = 5, 130
RUN = ("run", "in.jsonl", "--model", "m", "--output", "out", "--engine", "openai", "--engine-arg")
ENGINE_GONE_WITHIN_S = 20.0
GONE_WITHIN_S = 60.0  # Ray's own agents notice late that their node is gone


def prompt(number: int) -> str:
    return f"subject {number % SUBJECTS} " * 25 + f"number {number}"


class Attempts:
    """The attempts at one job, one after the other, and every process that they ever had."""

    def __init__(self, folder: Path, server: AnswerServer) -> None:
        self.server = server
        self.output = Output(folder / "out")
        self.seen: dict[int, Process] = {}
        self.commits: dict[str, bytes] = {}
        self._terminal = Terminal(folder, clean_environment(folder))
        self._running: subprocess.Popen[str] | None = None

    def begin(self) -> subprocess.Popen[str]:
        """Give the command, again while the attempt before is still on its way out; return when rows are answered."""
        if self._running is not None:
            return self._running
        number = len(self.output.attempts()) + 1
        while True:
            self._running = running = self._terminal.start(*RUN, f"base_url={self.server.base_url}")
            while running.poll() is None and not self._runs(number):
                time.sleep(0.2)
            if running.poll() is None:
                return running
            _, said = running.communicate()
            assert running.returncode == HELD, said
            time.sleep(0.5)

    def end(self) -> tuple[int, str]:
        """Wait for the command; the exit code and what it said."""
        assert self._running is not None
        out, err = self._running.communicate(timeout=180)
        code, self._running = self._running.returncode, None
        self.check_commits()
        return code, out + err

    def family(self) -> list[Process]:
        """The living processes of the running command."""
        found = descendants(self._running.pid) if self._running is not None else []
        self.seen |= {process.pid: process for process in found}
        return found

    def find(self, is_it: Callable[[Process], bool]) -> Process:
        (found,) = [process for process in self.family() if is_it(process)]
        return found

    def check_commits(self) -> None:
        """What was committed is still what is committed, byte for byte."""
        now = self.output.commits()
        assert {name: now.get(name) for name in self.commits} == self.commits
        self.commits = now

    def leftovers(self) -> list[Process]:
        return [process for process in self.seen.values() if process.is_alive]

    def _runs(self, attempt: int) -> bool:
        """Whether an engine of that attempt answers rows."""
        reports = self.output.folder.glob(f"_job/engines/{attempt:08d}/*.json")
        decoded = [decode_record(EngineReport, path.read_bytes(), key=path.name) for path in reports]
        return any(report.phase == "running" for report in decoded)


@pytest.fixture
def attempts(tmp_path: Path) -> Iterator[Attempts]:
    rows = (orjson.dumps({"custom_id": f"row-{n:05d}", "prompt": prompt(n)}) for n in range(ROWS))
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    with AnswerServer(delay_s=0.5, holds=prompt(ROWS - 1).__eq__) as server:
        found = Attempts(tmp_path, server)
        yield found
    found.family()
    for process in found.leftovers():
        process.kill()


def kill(attempts: Attempts, victim: str) -> None:
    """Kill one process of the running attempt, and see that the command tells it; an engine is replaced by itself."""
    command = attempts.begin()
    worker = attempts.find(lambda process: process.parent == command.pid)
    if victim in ENGINES:
        # An actor that has not asked yet has no engine to take along: its successor gets the prestarted host.
        wait_until(lambda: any(engine.command == TITLE for engine in engines(attempts)), "an actor has a host")
        before = {engine.pid for engine in engines(attempts)}
        attempts.find(lambda process: process.command.startswith(ENGINES[victim])).kill()
        wait_until(lambda: {engine.pid for engine in engines(attempts)} - before, "another engine in its place")
        assert command.poll() is None
    elif victim == "worker":
        (engine,) = engines(attempts)
        worker.kill()
        code, said = attempts.end()
        wait_until(lambda: not engine.is_alive, "the engine of a dead worker leaves", ENGINE_GONE_WITHIN_S)
        assert code == 1
        assert "its worker died of SIGKILL" in said
        assert "the same command resumes it" in said
    else:
        (engine,) = engines(attempts)
        command.kill()
        attempts.end()
        wait_until(lambda: not worker.is_alive and not engine.is_alive, "a worker without command leaves")


def engines(attempts: Attempts) -> list[Process]:
    return [process for process in attempts.family() if process.command.startswith(TITLE)]


def test_a_job_that_is_killed_again_and_again_answers_every_row_once(attempts: Attempts) -> None:
    seed = int(os.environ.get("BATCHCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))
    print(f"seed {seed}")
    chance = random.Random(seed)
    attempts.begin()
    wait_until(attempts.output.commits, "the first commit")
    assert list(attempts.output.folder.glob("_job/copies/*"))
    for victim in chance.sample(VICTIMS, KILLS):
        attempts.begin()
        pause_s = chance.uniform(0.0, 2.0)
        print(f"{victim} after {pause_s:.2f} s, {len(attempts.output.commits())} shards committed")
        time.sleep(pause_s)
        kill(attempts, victim)

    interrupt(attempts)
    attempts.begin()
    attempts.server.release()
    code, said = attempts.end()

    assert code == 0, said
    check_output(attempts.output)
    wait_until(lambda: not attempts.leftovers(), f"no process is left: {attempts.leftovers()}", GONE_WITHIN_S)


def interrupt(attempts: Attempts) -> None:
    """Ctrl-C."""
    attempts.begin().send_signal(signal.SIGINT)
    code, said = attempts.end()
    assert code == INTERRUPTED
    assert "the same command resumes it" in said


def check_output(output: Output) -> None:
    """Every row once, in order, with its own answer; the ledger closes; nothing but the output is left."""
    results, manifest = output.rows("results"), output.manifest()
    assert [row["custom_id"] for row in results] == [f"row-{n:05d}" for n in range(ROWS)]
    told = [row["response"]["body"]["choices"][0]["text"].rpartition("number ")[2] for row in results]
    assert told == [str(n) for n in range(ROWS)]
    assert (manifest["state"], manifest["lines"], manifest["succeeded"]) == ("COMPLETED", ROWS, ROWS)
    assert manifest["attempts"] == len(output.attempts())
    assert {1, manifest["attempts"]} <= {commit.epoch for commit in output.commit_records()}
    named = {part["key"] for part in manifest["results"]}
    assert {f"results/{path.name}" for path in output.folder.glob("results/*")} == named
    assert not list(output.folder.glob("_job/copies/*"))
