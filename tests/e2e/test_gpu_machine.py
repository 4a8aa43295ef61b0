"""Jobs on a machine with GPUs that are not there: it counts them, makes its own Ray cluster, and its engines ask."""

import json
from collections.abc import Callable
from pathlib import Path

import gpu_machine
import pytest
from terminal import Output, Terminal, clean_environment

from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.questions import held_out_questions

LACKING = gpu_machine.lacking()

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(LACKING), reason=LACKING or "nothing is lacking"),
]

ROWS = 60
MANY = 16_000
"""Rows of more shards than the engine that is up first takes at once."""


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[int], Terminal]:
    """A terminal on a machine with so many GPUs, and a file of questions."""
    questions = held_out_questions(ROWS, 11)
    rows = (json.dumps({"messages": [{"role": "user", "content": question}]}) for question, _ in questions)
    (tmp_path / "in.jsonl").write_text("\n".join(rows) + "\n")

    def with_gpus(gpus: int) -> Terminal:
        environment = clean_environment(tmp_path, **gpu_machine.driver(tmp_path / "driver", gpus))
        return Terminal(tmp_path, environment, around=gpu_machine.within(gpus))

    return with_gpus


@pytest.mark.parametrize(
    ("gpus_each", "replicas", "engines", "rows"),
    [(1, "1", 1, ROWS), (1, "2", 2, MANY), (2, "1:2", 1, ROWS)],
    ids=["one", "two", "one-of-a-pool"],
)
def test_engines_share_a_machines_two_gpus(
    machine: Callable[[int], Terminal], gpus_each: int, replicas: str, engines: int, rows: int
) -> None:
    terminal = machine(2)
    lines = (json.dumps({"custom_id": f"row-{n:05d}", "prompt": f"number {n}"}) for n in range(rows))
    (terminal.folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    echo = ("--model", "m", "--engine", "echo", "--engine-arg", f"gpus={gpus_each}", "--engine-arg", "delay_s=0.3")

    ended = terminal.run("run", "rows.jsonl", *echo, "--replicas", replicas, "--output", "out")

    assert ended.returncode == 0, ended.stderr
    output = Output(terminal.folder / "out")
    assert [row["custom_id"] for row in output.rows("results")] == [f"row-{n:05d}" for n in range(rows)]
    assert len({commit.attempt.rpartition("-")[0] for commit in output.commit_records()}) == engines
    used = output.manifest()["engine"]["config"]["gpus"]
    assert sorted(used.split(",")) in ([["0"], ["1"]] if gpus_each == 1 else [["0", "1"]])


@pytest.mark.vllm
def test_vllm_runs_where_the_driver_tells_of_a_gpu(machine: Callable[[int], Terminal]) -> None:
    """The CPU build: Ray Data hands its engine the GPU, as it would the CUDA build's; the model stays on the CPU."""
    terminal = machine(1)
    vllm = ("--model", str(ARITHMETIC_MODEL), "--max-tokens", "8", "--temperature", "0")

    ended = terminal.run("run", "in.jsonl", *vllm, "--output", "out")

    assert ended.returncode == 0, ended.stderr
    answers = [
        row["response"]["body"]["choices"][0]["message"]["content"].strip()
        for row in Output(terminal.folder / "out").rows("results")
    ]
    right = [answer for _, answer in held_out_questions(ROWS, 11)]
    assert sum(map(str.__eq__, answers, right)) >= 0.95 * ROWS
