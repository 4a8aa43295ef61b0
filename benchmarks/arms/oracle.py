"""The limit that every other arm is held against: `oracle_generate.py` does beforehand whatever can be done before.

Steady: the call of `LLM.generate` over tokens made before, each distinct row once, in the best order known. Not a way
to run a job: it needs all rows in memory, and writes nothing.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arms.base import Answered, Peer, reported
from benchmarks.workloads import Workload

SCRIPT = Path(__file__).with_name("oracle_generate.py")


@dataclass(frozen=True, slots=True)
class Oracle(Peer):
    """`LLM.generate`, with everything else done before."""

    title = "oracle"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        return [
            *(sys.executable, "-P", str(SCRIPT)),
            f"--model={self.model}",
            f"--requests={workload.requests}",
            f"--order={'longest' if workload.kv_tokens is None else 'beginning'}",
            f"--report={folder / 'report.json'}",
            f"--engine-args={json.dumps(self.engine_args)}",
        ]

    def answered(self, folder: Path) -> Answered:
        return reported(self.name, folder)
