"""`ray.data.llm`, from a JSONL file to JSONL files; `ray_data_llm_chat.py` is the script.

Steady: from the first request that its engine stage began, by the seconds that it took and the time at which its last
stage saw the answer, to the end of writing.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arms.base import OFFLINE, Scripted
from benchmarks.workloads import Workload

TUNED = {"batch_size": 16, "max_concurrent_batches": 32, "concurrency": 1}
"""512 rows in flight, twice the engine's sequences, in batches small enough to be refilled one after another."""


@dataclass(frozen=True, slots=True)
class RayDataLlm(Scripted):
    """`ray.data.llm`, at its defaults or tuned."""

    title = "ray.data.llm"
    script = "ray_data_llm_chat.py"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        return [
            *self.script_command(workload, folder),
            f"--output={folder / 'answers'}",
            f"--processor-args={json.dumps(TUNED if self.tuning else {})}",
            f"--environment={json.dumps(OFFLINE | self.environment())}",
        ]
