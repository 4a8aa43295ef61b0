"""A script around `LLM.chat`: the least one can write with vLLM. `bare_chat.py` is that script.

Steady: the call of `LLM.chat` over all rows. Reading the rows before it and writing the answers after it are left out.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.arms.base import Answered, Peer, reported
from benchmarks.workloads import Workload

SCRIPT = Path(__file__).with_name("bare_chat.py")


@dataclass(frozen=True, slots=True)
class Bare(Peer):
    """`LLM.chat`, at its defaults or tuned."""

    title = "LLM.chat"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        return [
            *(sys.executable, "-P", str(SCRIPT)),
            f"--model={self.model}",
            f"--requests={workload.requests}",
            f"--output={folder / 'answers.jsonl'}",
            f"--report={folder / 'report.json'}",
            f"--engine-args={json.dumps(self.engine_args)}",
        ]

    def answered(self, folder: Path) -> Answered:
        return reported(self.name, folder)
