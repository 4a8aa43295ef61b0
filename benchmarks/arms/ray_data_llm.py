"""`ray.data.llm`, from a JSONL file to JSONL files; `ray_data_llm_chat.py` is the script.

Steady: from the first request that came to its engine, which the engine's scheduler notes, since none of its stages
tells; to the end of writing.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from benchmarks.arms.base import OFFLINE, Scripted, scheduler
from benchmarks.machine import ROOT
from benchmarks.steps import FIRST_REQUEST
from benchmarks.workloads import Workload

TUNED = {"batch_size": 16, "max_concurrent_batches": 32, "concurrency": 1}
"""512 rows in flight, twice the engine's sequences, in batches small enough to be refilled one after another."""


@dataclass(frozen=True, slots=True)
class RayDataLlm(Scripted):
    """`ray.data.llm`, at its defaults or tuned."""

    title = "ray.data.llm"
    script = "ray_data_llm_chat.py"
    timed_by: ClassVar[Mapping[str, str]] = {"scheduler_cls": scheduler("Noting")}

    def command(self, workload: Workload, folder: Path) -> list[str]:
        first_request = folder / "first-request"
        noting = {FIRST_REQUEST: str(first_request), "PYTHONPATH": str(ROOT)}
        return [
            *self.script_command(workload, folder),
            f"--first-request={first_request}",
            f"--output={folder / 'answers'}",
            f"--processor-args={json.dumps(TUNED if self.tuning else {})}",
            f"--environment={json.dumps(OFFLINE | noting | self.environment())}",
        ]
