"""`ray.data.llm`, from a JSONL file to JSONL files; `ray_data_llm_chat.py` is the script.

Steady: from the first request that its engine stage began, by the seconds that it took and the time at which its last
stage saw the answer, to the end of writing.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arms.base import OFFLINE, Answered, Peer, reported
from benchmarks.workloads import Workload

SCRIPT = Path(__file__).with_name("ray_data_llm_chat.py")
TUNED = {"batch_size": 16, "max_concurrent_batches": 32, "concurrency": 1}
"""512 rows in flight, twice the engine's sequences, in batches small enough to be refilled one after another."""


@dataclass(frozen=True, slots=True)
class RayDataLlm(Peer):
    """`ray.data.llm`, at its defaults or tuned."""

    title = "ray.data.llm"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        return [
            *(sys.executable, "-P", str(SCRIPT)),
            f"--model={self.model}",
            f"--requests={workload.requests}",
            f"--output={folder / 'answers'}",
            f"--report={folder / 'report.json'}",
            f"--engine-args={json.dumps(self.engine_args)}",
            f"--processor-args={json.dumps(TUNED if self.tuning else {})}",
            f"--environment={json.dumps(OFFLINE | self.environment())}",
        ]

    def answered(self, folder: Path) -> Answered:
        return reported(self.name, folder)
