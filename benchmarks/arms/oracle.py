"""The limit that every other arm is held against: `oracle_generate.py` does beforehand whatever can be done before.

Steady: the call of `LLM.generate` over tokens made before, each distinct row once, in the best order known. Not a way
to run a job: it needs all rows in memory, and writes nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.arms.base import Scripted
from benchmarks.workloads import Workload


@dataclass(frozen=True, slots=True)
class Oracle(Scripted):
    """`LLM.generate`, with everything else done before."""

    title = "oracle"
    script = "oracle_generate.py"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        return [
            *self.script_command(workload, folder),
            f"--order={'longest' if workload.kv_tokens is None else 'beginning'}",
        ]
