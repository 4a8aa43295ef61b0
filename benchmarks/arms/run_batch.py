"""vLLM's own batch command, `python -m vllm.entrypoints.launchers.run_batch`, unchanged.

Steady: from the first drawing of its progress bar, which is the statement before all requests are submitted, to the
last, which closes the bar after the last answer; both are stamped as they arrive. Parsing all lines before the one and
writing all answers after the other are left out.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.arms.base import Answered, ArmFailed, Peer, Tuning
from benchmarks.workloads import SERVED_MODEL, Workload

BAR = re.compile(r"^([\d.]+) Running batch: +\d+% Completed \| (\d+)/(\d+) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RunBatch(Peer):
    """`run_batch`, at its defaults or tuned."""

    title = "run_batch"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        return [
            *(sys.executable, "-P", "-m", "vllm.entrypoints.launchers.run_batch"),
            *("--input-file", str(workload.requests), "--output-file", str(folder / "answers.jsonl")),
            *("--model", self.model, "--served-model-name", SERVED_MODEL, "--enable-prompt-tokens-details"),
            *Tuning(self.engine_args, {}).flags(),
        ]

    def answered(self, folder: Path) -> Answered:
        bar = BAR.findall((folder / "log.txt").read_text(encoding="utf-8"))
        if not bar or bar[-1][1] != bar[-1][2]:
            raise ArmFailed(f"{self.name} did not come to its end; see {folder / 'log.txt'}")
        responses = [orjson.loads(line)["response"] for line in (folder / "answers.jsonl").read_bytes().splitlines()]
        bodies = [response["body"] for response in responses if response["status_code"] == 200]
        usages = [body["usage"] for body in bodies]
        details = [usage.get("prompt_tokens_details") or {} for usage in usages]
        return Answered(
            admitted_at=float(bar[0][0]),
            ended_at=float(bar[-1][0]),
            rows=len(bodies),
            completion_tokens=sum(usage["completion_tokens"] for usage in usages),
            prompt_tokens=sum(usage.get("prompt_tokens", 0) for usage in usages),
            cached_tokens=sum(detail.get("cached_tokens") or 0 for detail in details),
        )
