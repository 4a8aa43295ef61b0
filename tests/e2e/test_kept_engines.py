"""A worker that is given one job after another: an engine is kept for the next job of its configuration.

A job that fails, or is lost to another attempt, takes neither the engine nor the worker along.
"""

import json
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from answer_server import AnswerServer
from attempts import check_gone
from jobs import CREATED_AT, HOLDER
from kept_worker import Worker, stored
from processes import descendants
from terminal import Output, Terminal, clean_environment, wait_until
from vllm_runs import comparable

from batch.jobs.store import JobStore
from batch.records.objects import Epoch
from batch.spec.parameters import InferenceParameters
from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.questions import held_out_questions

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

GONE_WITHIN_S = 20.0
ARGUMENTS = {"dtype": "float32", "max_model_len": 512}


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    started = Worker(tmp_path_factory.mktemp("worker"))
    yield started
    family = descendants(started.process.pid)
    code = started.end()
    assert code == 0, started.said.read_text()
    check_gone(lambda: [process for process in family if process.is_alive], GONE_WITHIN_S)


@pytest.fixture
def server() -> Iterator[AnswerServer]:
    with AnswerServer(holds="number 0".__eq__) as started:
        yield started


def prompts(numbers: Iterable[int]) -> list[dict[str, object]]:
    return [{"prompt": f"number {n}"} for n in numbers]


def questions(seed: int) -> list[dict[str, object]]:
    asked = held_out_questions(40, seed)
    return [{"messages": [{"role": "user", "content": question}]} for question, _ in asked]


def log_of(job: JobStore) -> str:
    (log,) = Path(job.uri.removeprefix("file://"), "_job/logs").glob("*.log")
    return log.read_text()


@pytest.mark.vllm
def test_the_second_job_finds_the_first_ones_engine(tmp_path: Path) -> None:
    vllm = {
        "engine": "vllm",
        "model": str(ARITHMETIC_MODEL),
        "engine_args": ARGUMENTS,
        "parameters": InferenceParameters.from_dict({"max_tokens": 8, "temperature": 0.0}),
    }
    first, second = (stored(tmp_path, name, questions(seed), **vllm) for name, seed in (("first", 1), ("second", 2)))
    worker = Worker(tmp_path)

    codes, engines = [], []
    for job in (first, second):
        codes.append(worker.run(job))
        engines.append({(process.pid, process.started) for process in worker.engines()})
    assert worker.end() == 0
    flags = [word for name, value in ARGUMENTS.items() for word in ("--engine-arg", f"{name}={value}")]
    cold = Terminal(tmp_path, clean_environment(tmp_path)).run(
        *("run", "second.jsonl", "--model", str(ARITHMETIC_MODEL), "--output", "cold"),
        *("--max-tokens", "8", "--temperature", "0", *flags),
    )

    assert (codes, cold.returncode) == ([0, 0], 0)
    assert engines[0] == engines[1]
    assert len(engines[0]) == 3
    assert "Initializing a V1 LLM engine" in log_of(first)
    assert "first row admitted" in log_of(second)
    assert "Initializing a V1 LLM engine" not in log_of(second)
    warm, alone = (
        [comparable(row["response"]["body"]) for row in Output(tmp_path / name).rows("results")]
        for name in ("second", "cold")
    )
    assert len(warm) == 40
    assert warm == alone


def test_a_job_that_is_lost_to_another_attempt_leaves_the_engine_to_the_next_one(
    worker: Worker, server: AnswerServer, tmp_path: Path
) -> None:
    engine = {"engine": "openai", "engine_args": {"base_url": server.base_url}}
    earlier, lost, later = (
        stored(tmp_path, name, prompts(rows), **engine)
        for name, rows in (("earlier", range(1, 9)), ("lost", range(600)), ("later", range(1, 700)))
    )
    assert worker.run(earlier) == 0
    (parked,) = worker.parked()

    worker.order(json.dumps({"job": lost.uri}))
    wait_until(lambda: "number 0" in server.calls and server.asked > 500, "rows are asked for")
    assert lost.create_epoch(Epoch(2, HOLDER, CREATED_AT))
    answer = worker.answer()
    after = worker.run(later)

    assert (answer["exit_code"], after) == (5, 0)
    assert "has lost the job" in answer["message"]
    assert [process.pid for process in worker.parked()] == [parked.pid]
    assert lost.manifest() is None
    assert [json.loads(line)["custom_id"] for line in later.lines("results")] == [f"r{n}" for n in range(699)]


def test_a_job_that_fails_leaves_the_engine_to_the_next_one(worker: Worker, tmp_path: Path) -> None:
    good, bad, next_one = (stored(tmp_path, name, prompts(range(2))) for name in ("good", "bad", "next"))
    (tmp_path / "bad.jsonl").unlink()
    assert worker.run(good) == 0
    (parked,) = worker.parked()

    codes = [worker.run(bad), worker.run(next_one), worker.run(good)]

    assert codes == [2, 0, 0]
    assert [process.pid for process in worker.parked()] == [parked.pid]


def test_an_engine_that_does_not_suit_the_next_job_ends_before_that_has_its_own(worker: Worker, tmp_path: Path) -> None:
    one, other = (
        stored(tmp_path, name, prompts([1]), engine_args={"delay_s": delay_s})
        for name, delay_s in (("one", 0.0), ("other", 0.01))
    )
    assert worker.run(one) == 0
    (parked,) = worker.parked()

    assert worker.run(other) == 0

    assert not parked.is_alive
    assert len(worker.parked()) == 1


@pytest.mark.parametrize("line", ["", "{", "[]", '{"job": 7}', '{"job": "file:///nowhere/out"}', '{"jobs": "a"}'])
def test_an_order_that_cannot_be_carried_out_is_answered(worker: Worker, line: str) -> None:
    worker.order(line)

    answer = worker.answer()

    assert answer["exit_code"] == 2
    assert answer["message"]


def test_an_interrupt_ends_the_worker_and_its_engines(tmp_path: Path, server: AnswerServer) -> None:
    held = stored(
        tmp_path,
        "held",
        prompts(range(300)),
        engine="openai",
        engine_args={"base_url": server.base_url},
    )
    worker = Worker(tmp_path)
    worker.order(json.dumps({"job": held.uri}))
    wait_until(lambda: "number 0" in server.calls, "rows are asked for")
    family = descendants(worker.process.pid)

    worker.process.send_signal(signal.SIGINT)

    assert worker.process.wait(60) == 130
    check_gone(lambda: [process for process in family if process.is_alive], GONE_WITHIN_S)
