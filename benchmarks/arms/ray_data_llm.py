"""`ray.data.llm`, from a JSONL file to JSONL files; `ray_data_llm_chat.py` is the script.

Steady: from the first request that its engine stage began, by the seconds that it took and the time at which its last
stage saw the answer, to the end of writing.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arms.base import OFFLINE, Answered, Tuning, all_cores, reported
from benchmarks.workloads import Workload

SCRIPT = Path(__file__).with_name("ray_data_llm_chat.py")
TUNED = {"batch_size": 16, "max_concurrent_batches": 32, "concurrency": 1}
"""512 rows in flight, twice the engine's sequences, in batches small enough to be refilled one after another."""


@dataclass(frozen=True, slots=True)
class RayDataLlm:
    """`ray.data.llm`, at its defaults or tuned."""

    model: str
    tuning: Tuning | None = None

    @property
    def name(self) -> str:
        return "ray.data.llm, tuned" if self.tuning else "ray.data.llm"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        # Ray gives an actor's process one thread for each of its CPUs; vLLM's binding gives the model its cores.
        engine_args = dict(self.tuning.engine_args) if self.tuning else {}
        return [
            *(sys.executable, "-P", str(SCRIPT)),
            f"--model={self.model}",
            f"--requests={workload.requests}",
            f"--output={folder / 'answers'}",
            f"--report={folder / 'report.json'}",
            f"--engine-args={json.dumps(engine_args)}",
            f"--processor-args={json.dumps(TUNED if self.tuning else {})}",
            f"--environment={json.dumps(OFFLINE | self.environment())}",
        ]

    def environment(self) -> dict[str, str]:
        return all_cores() | (dict(self.tuning.environment) if self.tuning else {})

    def answered(self, folder: Path) -> Answered:
        return reported(self.name, folder)
