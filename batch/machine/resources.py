"""What a job's engines take of the machine that they run on: refused, when it has less, before anything starts.

What a cluster at an address has is known when it is joined.
"""

from __future__ import annotations

import math
import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from batch.errors import UsageError

if TYPE_CHECKING:
    from batch.spec.job_spec import JobSpec

_PARALLEL = ("tensor", "pipeline", "prefill_context", "data")
"""The kinds of parallelism whose sizes multiply to the ranks of one vLLM engine."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What one engine takes: so many ranks that compute together, each on a GPU, or on a core where there is none.

    `computes`: False for an engine that only waits, which takes neither.
    """

    ranks: int = 1
    computes: bool = False


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to compute with."""

    cores: int
    gpus: int


ELSEWHERE = Machine(cores=sys.maxsize, gpus=0)
"""A cluster that was not joined yet, which may have any number of cores."""


def engine_needs(spec: JobSpec) -> Needs:
    """Return what one engine of the job takes."""
    match spec.engine:
        case "vllm":
            sizes = (int(spec.engine_args.get(f"{kind}_parallel_size", 1)) for kind in _PARALLEL)
            return Needs(ranks=math.prod(sizes), computes=True)
        case "echo":
            gpus = int(spec.engine_args.get("gpus", 0))
            return Needs(ranks=gpus or 1, computes=gpus > 0)
        case _:
            return Needs()


def runs_only_on_gpus(spec: JobSpec) -> bool:
    """Whether the job's engine runs on nothing else: echo, where it asks for some, and the CUDA build of vLLM."""
    return engine_needs(spec).computes and (spec.engine != "vllm" or _is_cuda_build())


def _is_cuda_build() -> bool:
    """Whether the vLLM that is installed here is the CUDA build: a cluster's machines have the same."""
    from importlib.metadata import PackageNotFoundError, version  # a tenth of a second, of a start that needs it not

    try:
        return bool(version("vllm"))
    except PackageNotFoundError:
        return False


def parse_replicas(text: str) -> tuple[int, int]:
    """Read `N` or `MIN:MAX`. Raises UsageError."""
    fewest, _, most = text.partition(":")
    try:
        bounds = int(fewest), int(most or fewest)
    except ValueError:
        bounds = (0, 0)
    if not 1 <= bounds[0] <= bounds[1]:
        raise UsageError(f"replicas={text!r}: expected N or MIN:MAX with 1 <= MIN <= MAX")
    return bounds


def this_machine() -> Machine:
    """Return the cores that this process may use, and the GPUs."""
    return Machine(len(os.sched_getaffinity(0)), gpu_count())


def gpu_count() -> int:
    """Return the number of NVIDIA GPUs that this process may use, without loading CUDA."""
    there = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) or len(list(Path("/dev").glob("nvidia[0-9]*")))
    return visible(there, os.environ.get("CUDA_VISIBLE_DEVICES"))


def visible(gpus: int, setting: str | None) -> int:
    """Return how many of a machine's GPUs a setting of CUDA_VISIBLE_DEVICES leaves; None: it is not set."""
    if setting is None:
        return gpus
    named = [word.strip() for word in setting.split(",")]
    return min(gpus, sum(bool(word) and not word.startswith("-") for word in named))


def check_attempt(spec: JobSpec, *, replicas: str | None, ray_address: str | None) -> None:
    """Refuse, with UsageError, what cannot run for want of a library here, or of a core or GPU of this machine."""
    check_installed(spec, ray_address=ray_address)
    if ray_address is None:
        check_fits(spec, replicas, this_machine())


def check_installed(spec: JobSpec, *, ray_address: str | None) -> None:
    """Refuse, with UsageError, to start a worker where only the command line is installed."""
    needed = ("ray", "vllm") if spec.engine == "vllm" and ray_address is None else ("ray",)
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"{' and '.join(missing)} not installed, so that no engine can run here: install batchctl[cpu], or "
            "batchctl[cuda] on a machine with an NVIDIA GPU (pip install 'batchctl[cpu]')."
        )


def check_fits(spec: JobSpec, replicas: str | None, machine: Machine) -> None:
    """Refuse, with UsageError, a job whose fewest engines take more than the machine has."""
    needs, engines = engine_needs(spec), parse_replicas(replicas)[0] if replicas else 1
    there, what = (machine.gpus, "GPU") if machine.gpus else (machine.cores, "core")
    if needs.computes and engines * needs.ranks > there:
        asked = f"{_counted(engines, 'engine')} of {_counted(needs.ranks, 'rank')}"
        raise UsageError(
            f"{asked} take {_counted(engines * needs.ranks, what)}, and this machine has {there}: "
            "ask for fewer with --replicas or a smaller tensor_parallel_size."
        )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
