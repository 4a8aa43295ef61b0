"""kill -9 of anything around real vLLM, ten times over one job. Long run only: an engine takes a minute to start."""

import os
import random
import time
from pathlib import Path

import orjson
import pytest
from attempts import Attempts, output_lines
from chaos.conftest import Watch
from long_run import long_only
from processes import Process
from terminal import Terminal, clean_environment, wait_until
from vllm_runs import CPU_ENVIRONMENT, SERVED_NAME

from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.questions import held_out_questions

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(3600)]

ROWS = 40_000
KILLS = int(os.environ.get("BATCHCTL_TEST_KILLS") or 10)
SEED = int(os.environ.get("BATCHCTL_TEST_SEED") or random.SystemRandom().randrange(10**6))
VICTIMS = ("core", "host", "actor", "worker", "command", "raylet")
QUESTIONS = [question for question, _ in held_out_questions(ROWS, 5)]


@pytest.fixture
def attempts(tmp_path: Path, watch: Watch) -> Attempts:
    rows = [
        {"custom_id": f"row-{n:05d}", "body": {"messages": [{"role": "user", "content": question}]}}
        for n, question in enumerate(QUESTIONS)
    ]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    model = ("--model", str(ARITHMETIC_MODEL), "--served-model-name", SERVED_NAME)
    slowly = ("--engine-arg", "max_num_seqs=4", "--journal-every", "1s")
    asked = ("--max-tokens", "12", "--temperature", "0")
    terminal = Terminal(tmp_path, clean_environment(tmp_path, **CPU_ENVIRONMENT))
    return watch(Attempts(terminal, ("run", "in.jsonl", *model, *slowly, *asked, "--output", "out"), f"{tmp_path}/out"))


@long_only
def test_kills_of_vllm(attempts: Attempts) -> None:
    print(f"seed {SEED}")
    chance, began_s = random.Random(SEED), time.monotonic()
    victims = [VICTIMS[n % len(VICTIMS)] for n in range(KILLS)]
    seen: set[str] = set()
    for victim in chance.sample(victims, KILLS):
        kill(attempts, victim, chance, seen)
    attempts.begin()
    code, said = attempts.end(900)
    assert code == 0, said
    print(f"{KILLS} kills in {(time.monotonic() - began_s) / 60:.1f} min, {len(attempts.numbers())} attempts")

    parts = attempts.objects("results/")
    rows = [orjson.loads(line) for line in output_lines(parts).splitlines()]
    assert [row["custom_id"] for row in rows] == [f"row-{n:05d}" for n in range(ROWS)]
    manifest = orjson.loads(attempts.store.get("manifest.json"))
    assert (manifest["state"], manifest["succeeded"], manifest["failed"]) == ("COMPLETED", ROWS, 0)
    assert {part["key"] for part in manifest["results"]} == set(parts)
    attempts.check_nothing_is_left()


def kill(attempts: Attempts, victim: str, chance: random.Random, seen: set[str]) -> None:
    """Kill it while an engine starts, or more often while it answers. `seen`: engines that were there before."""
    running = attempts.begin()

    def fresh() -> set[str]:
        return {report.name for report in attempts.busy_engines()} - seen

    def found() -> list[Process]:
        looks = {"actor": attempts.actors, "host": attempts.hosts, "worker": attempts.worker, "raylet": attempts.raylet}
        if victim == "core":
            return [process for process in attempts.family() if "EngineCore" in process.command]
        return looks.get(victim, attempts.command)()

    if chance.random() < 0.7:
        wait_until(lambda: fresh() or running.poll() is not None, "an engine with rows in hand", 300)
    wait_until(lambda: found() or running.poll() is not None, f"{victim} is there")
    time.sleep(chance.uniform(0.0, 5.0))
    assert running.poll() is None, attempts.end()
    print(
        f"kill {victim}: {len(attempts.commits())} shards committed, an engine answered: {fresh() != set()}", flush=True
    )
    seen |= fresh()
    for process in found():
        process.kill()
    if victim in (
        "actor",
        "host",
        "core",
    ):  # another takes its place; a core that is killed while it starts ends the attempt
        wait_until(lambda: fresh() or running.poll() is not None, "another engine with rows in hand", 300)
    else:
        attempts.end()
