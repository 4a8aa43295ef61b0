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


def test_an_engine_gets_one_of_a_machines_two_gpus(machine: Callable[[int], Terminal]) -> None:
    terminal = machine(2)
    echo = ("--model", "m", "--engine", "echo", "--engine-arg", "gpus=1")

    ended = terminal.run("run", "in.jsonl", *echo, "--replicas", "1", "--output", "out")

    assert ended.returncode == 0, ended.stderr
    manifest = Output(terminal.folder / "out").manifest()
    assert manifest["succeeded"] == ROWS
    assert manifest["engine"]["config"]["gpus"] in {"0", "1"}


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
