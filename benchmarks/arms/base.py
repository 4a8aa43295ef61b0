"""What every arm offers, and what ours runs with, for those that are tuned to it. Knows nothing of repeats."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol, Self

from batch.machine import resources
from benchmarks.workloads import Workload
from pipelines.processes import sizing

CONTROLLED = ("VLLM_", "OMP_", "KMP_", "GOMP_", "RAY_", "LD_PRELOAD", "MALLOC_")
KV_CACHE_GIB = 2
"""Of every arm on CPU: more than the workload can fill, and what ours takes by itself for 3 million parameters. By
default vLLM wants 92 % of the memory, or does not start."""

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


class ArmFailed(Exception):
    """An arm did not answer the workload; the message names its log."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What an arm says of its run. Times of day are Unix seconds."""

    admitted_at: float
    """The first request was handed to the engine."""
    ended_at: float
    rows: int
    completion_tokens: int
    engine: dict[str, object] = field(default_factory=dict)
    """The engine's sizes, where the arm records them."""
    prompt_tokens: int = 0
    """Of the rows that were asked; 0 where the arm does not say."""
    cached_tokens: int = 0
    """Of these, tokens that the engine's prefix cache served."""
    first_durable_at: float | None = None
    """The first rows were safe; None where all are written at the end."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """Engine arguments by their command-line names with underscores, and environment variables."""

    engine_args: Mapping[str, str | int | bool]
    environment: Mapping[str, str]

    def flags(self) -> list[str]:
        """The engine arguments as command-line flags of vLLM."""
        words: list[str] = []
        for name, value in self.engine_args.items():
            flag = f"--{name.replace('_', '-')}"
            match value:
                case True:
                    words += [flag]
                case False:
                    words += [flag.replace("--", "--no-", 1)]
                case _:
                    words += [flag, str(value)]
        return words


class Arm(Protocol):
    """One way to answer a request file."""

    @property
    def name(self) -> str:
        """What the tables call it."""
        ...

    def command(self, workload: Workload, folder: Path) -> list[str]:
        """Return the command that answers `workload` and leaves everything in `folder`."""
        ...

    def environment(self) -> dict[str, str]:
        """Return the variables it needs beyond `base_environment`."""
        ...

    def answered(self, folder: Path) -> Answered:
        """Read what a finished run left in `folder`; its output is in `folder/log.txt`. Raises ArmFailed."""
        ...

    def measured(self) -> Self:
        """Return the same arm with a scheduler that counts its steps."""
        ...


@dataclass(frozen=True, slots=True)
class Peer:
    """What the arms of others have in common: a model, at their defaults or tuned to ours."""

    title: ClassVar[str]
    timed_by: ClassVar[Mapping[str, str]] = {}
    """Engine arguments without which it could not be timed."""
    model: str
    tuning: Tuning | None = None
    counts_steps: bool = False

    @property
    def name(self) -> str:
        """The title, and whether it is tuned."""
        return f"{self.title}, tuned" if self.tuning else self.title

    @property
    def engine_args(self) -> dict[str, str | int | bool]:
        """The engine arguments that it is given; at its defaults none but what it is timed or counted by."""
        counting = {"scheduler_cls": scheduler("Measured")} if self.counts_steps else {}
        return {**self.timed_by, **(self.tuning.engine_args if self.tuning else {}), **counting}

    def environment(self) -> dict[str, str]:
        """All cores for the model; tuned, also what ours gives its engine."""
        return all_cores() | (dict(self.tuning.environment) if self.tuning else {})

    def measured(self) -> Self:
        """Return the same arm with a scheduler that counts its steps."""
        return replace(self, counts_steps=True)


@dataclass(frozen=True, slots=True)
class Scripted(Peer):
    """What the arms have in common that are scripts beside this module and report what they did."""

    script: ClassVar[str]
    """The name of its file."""

    def script_command(self, workload: Workload, folder: Path) -> list[str]:
        """Return the command with the flags that every script has."""
        return [
            *(sys.executable, "-P", str(Path(__file__).with_name(self.script))),
            f"--model={self.model}",
            f"--requests={workload.requests}",
            f"--report={folder / 'report.json'}",
            f"--engine-args={json.dumps(self.engine_args)}",
        ]

    def answered(self, folder: Path) -> Answered:
        """Read the script's report. Raises ArmFailed."""
        try:
            report = json.loads((folder / "report.json").read_text())
        except FileNotFoundError:
            raise ArmFailed(f"{self.name} did not come to its end; see {folder / 'log.txt'}") from None
        return Answered(**report)


def scheduler(kind: Literal["Noting", "Measured", "MeasuredFinalOnly"]) -> str:
    """Return the name of a scheduler of `measured_scheduler`, as vLLM takes it.

    vLLM overlaps the steps of a GPU unless told otherwise, and never those of a CPU.
    """
    return f"benchmarks.measured_scheduler.{kind}{'Async' if resources.gpu_count() else ''}Scheduler"


def base_environment() -> dict[str, str]:
    """Return what every arm starts from: nothing that steers OpenMP or Ray, equal KV caches, no network of a hub."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(CONTROLLED)}
    return inherited | OFFLINE | {"VLLM_CPU_KVCACHE_SPACE": str(KV_CACHE_GIB)}


def all_cores() -> dict[str, str]:
    """Return the thread binding of every peer: all cores, as ours has by default.

    vLLM's own default leaves one free, which is half of a small machine.
    """
    cores = sorted(os.sched_getaffinity(0))
    is_range = cores == list(range(cores[0], cores[-1] + 1))
    binding = f"{cores[0]}-{cores[-1]}" if is_range else ",".join(map(str, cores))
    return {} if resources.gpu_count() else {"VLLM_CPU_OMP_THREADS_BIND": binding}


def our_tuning(rows: int, *, max_num_seqs: int, max_num_batched_tokens: int) -> Tuning:
    """Return what ours gives its engine for so many rows on this machine: arguments and, on CPU, its environment."""
    sizes: dict[str, str | int | bool] = {
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max_num_batched_tokens,
    }
    if resources.gpu_count():
        return Tuning(sizes, {})
    environment = sizing.cpu_environment(sizing.this_machine(0, 1), world_size=1)
    sizes |= sizing.cpu_engine_arguments(rows) | {"distributed_executor_backend": "uni"}
    in_one_process = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0"}  # of LLM.chat; of the others' engines: no worker's
    return Tuning(sizes, environment | in_one_process | {"VLLM_CPU_KVCACHE_SPACE": str(KV_CACHE_GIB)})
