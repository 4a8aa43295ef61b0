"""A script around `LLM.chat`: the least one can write with vLLM. `bare_chat.py` is that script.

Steady: the call of `LLM.chat` over all rows. Reading the rows before it and writing the answers after it are left out.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arms.base import Answered, Tuning, all_cores, reported
from benchmarks.workloads import Workload

SCRIPT = Path(__file__).with_name("bare_chat.py")


@dataclass(frozen=True, slots=True)
class Bare:
    """`LLM.chat`, at its defaults or tuned."""

    model: str
    tuning: Tuning | None = None

    @property
    def name(self) -> str:
        return "LLM.chat, tuned" if self.tuning else "LLM.chat"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        engine_args = dict(self.tuning.engine_args) if self.tuning else {}
        return [
            *(sys.executable, "-P", str(SCRIPT)),
            f"--model={self.model}",
            f"--requests={workload.requests}",
            f"--output={folder / 'answers.jsonl'}",
            f"--report={folder / 'report.json'}",
            f"--engine-args={json.dumps(engine_args)}",
        ]

    def environment(self) -> dict[str, str]:
        return all_cores() | (dict(self.tuning.environment) if self.tuning else {})

    def answered(self, folder: Path) -> Answered:
        return reported(self.name, folder)
