"""`batchctl run`, as a user types it.

Steady: from the first row's admission, which the engine's host logs, to the last commit, durable in the store, or to
the last part where results are written again in the order of the input.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Self

import orjson

from benchmarks.arms.base import Answered, ArmFailed, scheduler
from benchmarks.workloads import SERVED_MODEL, Workload

ADMITTED = re.compile(r"(\d{4}-\d\d-\d\d \S+) INFO \S+: first row admitted$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Ours:
    """Our command at its defaults, but for `engine_args`. With the engine `echo`, `model` is a name only."""

    model: str
    engine: str = "vllm"
    engine_args: Mapping[str, str | int] = field(default_factory=dict)
    name: str = "batchctl"

    def command(self, workload: Workload, folder: Path) -> list[str]:
        return [
            str(Path(sys.executable).with_name("batchctl")),
            "run",
            str(workload.requests),
            f"--model={self.model}",
            f"--served-model-name={SERVED_MODEL}",
            f"--engine={self.engine}",
            *(["--engine-arg=enable_prompt_tokens_details=true"] if self.engine == "vllm" else []),
            f"--output={folder / 'output'}",
            *(f"--engine-arg={name}={value}" for name, value in self.engine_args.items()),
        ]

    def environment(self) -> dict[str, str]:
        return {}  # the binding of the other arms is our default

    def answered(self, folder: Path) -> Answered:
        output = folder / "output"
        try:
            manifest = orjson.loads((output / "manifest.json").read_bytes())
        except FileNotFoundError:
            raise ArmFailed(f"{output} has no manifest; see {folder / 'log.txt'} and {output / '_job/logs'}") from None
        # Objects are linked into their places: the link's time is the file's ctime.
        committed_at = [commit.stat().st_ctime for commit in (output / "_job/commits").glob("*.json")]
        written_at = [part.stat().st_ctime for part in (output / "results").glob("*")]
        return Answered(
            admitted_at=first_admission(output),
            ended_at=max(committed_at + written_at),
            rows=manifest["succeeded"],
            completion_tokens=sum(map(_completion_tokens, _results(output))),
            engine=manifest["engine"]["config"],
            prompt_tokens=manifest["usage"]["prompt_tokens"],
            cached_tokens=manifest["usage"]["cached_tokens"],
            first_durable_at=min(committed_at),
        )

    def measured(self) -> Self:
        return replace(self, engine_args={**self.engine_args, "scheduler_cls": scheduler("MeasuredFinalOnly")})


def _results(output: Path) -> Iterator[bytes]:
    for part in sorted((output / "results").glob("*.jsonl")):
        with part.open("rb") as lines:
            yield from lines


def _completion_tokens(line: bytes) -> int:
    """Of one result. The manifest counts what was computed, which is less where rows ask the same."""
    tokens: int = orjson.loads(line)["response"]["body"]["usage"]["completion_tokens"]
    return tokens


def first_admission(output: Path) -> float:
    """Return the Unix time of the first admission of any engine, from the job's logs. Raises ArmFailed."""
    found = [
        datetime.fromisoformat(match[1]).timestamp()
        for log in sorted((output / "_job/logs").glob("*.log"))
        for match in ADMITTED.finditer(log.read_text(encoding="utf-8", errors="replace"))
    ]
    if not found:
        raise ArmFailed(f"no line 'first row admitted' with its time in {output / '_job/logs'}")
    return min(found)
