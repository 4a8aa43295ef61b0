"""A job with all seams and one without any: the same answers, and each seam's effect in the vendor's running code."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from kept_worker import Worker, stored
from processes import Process
from terminal import Output
from vllm_runs import comparable

from batch.spec.parameters import InferenceParameters
from pipelines.engine_process.process import PARKED_TITLE
from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.questions import held_out_questions
from pipelines.seams import SEAMS

pytestmark = [pytest.mark.ray, pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

CACHE_BYTES = 2 << 30
ROWS = 1_000
ARGUMENTS = {"dtype": "float32", "max_model_len": 512, "kv_cache_memory_bytes": CACHE_BYTES}
WITHOUT = {"BATCHCTL_SEAMS": "off"}


@dataclass(frozen=True)
class Ran:
    """A job that has ended, while its engine is still there. `parents`: of each process of the engine."""

    output: Output
    log: str
    engines: list[Process]
    parents: dict[str, str]
    resident_bytes: int


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ran]:
    folder = tmp_path_factory.mktemp("seams")
    return {name: run(folder, name, environment) for name, environment in (("with", {}), ("without", WITHOUT))}


def run(folder: Path, name: str, environment: dict[str, str]) -> Ran:
    asked = held_out_questions(ROWS, 5)
    job = stored(
        folder,
        name,
        [{"messages": [{"role": "user", "content": question}]} for question, _ in asked],
        engine="vllm",
        model=str(ARITHMETIC_MODEL),
        engine_args=ARGUMENTS,
        parameters=InferenceParameters.from_dict({"max_tokens": 8, "temperature": 0.0}),
    )
    worker = Worker(folder, **environment)
    assert worker.run(job) == 0
    engines = worker.engines()
    (model,) = [process for process in engines if "Worker" in process.command]
    pages = int(Path(f"/proc/{model.pid}/statm").read_text().split()[1])
    parents = {process.command: Path(f"/proc/{process.parent}/cmdline").read_text() for process in engines}
    assert worker.end() == 0
    (log,) = (folder / name / "_job/logs").glob("*.log")
    return Ran(Output(folder / name), log.read_text(), engines, parents, pages * 4096)


def bodies(ran: Ran) -> Iterator[dict[str, object]]:
    return (row["response"]["body"] for row in ran.output.rows("results"))


def test_the_answers_are_the_same_with_and_without(jobs: dict[str, Ran]) -> None:
    with_seams, without = ([comparable(body) for body in bodies(ran)] for ran in jobs.values())

    assert len(with_seams) == ROWS
    assert with_seams == without


@pytest.mark.parametrize("seam", [seam.name for seam in SEAMS])
def test_the_log_has_a_line_for_each(jobs: dict[str, Ran], seam: str) -> None:
    assert f"seam {seam}: on" in jobs["with"].log
    assert f"seam {seam}: off, by BATCHCTL_SEAMS" in jobs["without"].log


def test_engines_are_forks(jobs: dict[str, Ran]) -> None:
    def of_the_server(ran: Ran) -> set[str]:
        return {command for command, parent in ran.parents.items() if "forkserver" in parent}

    assert of_the_server(jobs["with"]) >= {PARKED_TITLE, "VLLM::EngineCore"}
    assert of_the_server(jobs["without"]) == set()


def test_the_scheduler_tells_its_load(jobs: dict[str, Ran]) -> None:
    assert [report.load is not None for report in jobs["with"].output.reports()] == [True]
    assert [report.load is not None for report in jobs["without"].output.reports()] == [False]


def test_plain_chats_are_numbered(jobs: dict[str, Ran]) -> None:
    """Ids of the fast path are a name for the engine and a number; those of the serving layer are random."""

    def engines(ran: Ran) -> int:
        return len({str(body["id"])[: len("chatcmpl-") + 12] for body in bodies(ran)})

    assert engines(jobs["with"]) == 1
    assert engines(jobs["without"]) > ROWS / 2  # equal questions share an answer


def test_norms_are_one_kernel(jobs: dict[str, Ran]) -> None:
    def priority(ran: Ran) -> str:
        found = re.search(r"Final IR op priority after setting platform defaults: (.*)", ran.log)
        assert found is not None
        return found[1]

    assert "rms_norm=['batchctl_cpu'" in priority(jobs["with"])
    assert "batchctl" not in priority(jobs["without"])


def test_the_cache_is_not_touched(jobs: dict[str, Ran]) -> None:
    print(json.dumps({name: ran.resident_bytes for name, ran in jobs.items()}))

    assert jobs["with"].resident_bytes < CACHE_BYTES < jobs["without"].resident_bytes
