"""A script around `LLM.chat`: the least one can write with vLLM. `bare_chat.py` is that script.

Steady: the call of `LLM.chat` over all rows. Reading the rows before it and writing the answers after it are left out.
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.arms.base import Scripted
from benchmarks.workloads import Workload


@dataclass(frozen=True, slots=True)
class Bare(Scripted):
    """`LLM.chat`, at its defaults or tuned."""

    title = "LLM.chat"
    script = "bare_chat.py"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        return [*self.script_command(workload, folder), f"--output={folder / 'answers.jsonl'}"]
