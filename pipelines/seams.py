"""Every place that reaches into the private parts of vLLM, Ray or multiprocessing, in one table.

Each is there for a reason that was measured, and has a probe next to its code: is the vendor as it expects? Where it is
not, the job runs without that seam, and its log says so. BATCHCTL_SEAMS=off has a job run without any. Knows nothing of
what a seam does.
"""

import inspect
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pkgutil import resolve_name
from typing import Any

logger = logging.getLogger(__name__)

SWITCH = "BATCHCTL_SEAMS"
"""The variable that turns all seams off, when it is `off`."""


class Unexpected(Exception):
    """A vendor is not as a seam expects. `str(error)`: what is different."""


@dataclass(frozen=True, slots=True)
class Seam:
    """`probe`: `module:function`, next to the seam's code; `why`: what was gained, as measured."""

    name: str
    vendor: str
    probe: str
    why: str

    def holds(self) -> bool:
        """Whether it is to be applied in this process; the log has one line for it, a warning when its probe fails."""
        return _holds(self)

    def problem(self) -> str:
        """Return what keeps it from being applied; empty: nothing."""
        try:
            resolve_name(self.probe)()
        except Exception as error:  # noqa: BLE001 - a vendor that has changed may raise anything
            return f"{type(error).__name__}: {error}" if not isinstance(error, Unexpected) else str(error)
        return ""


@cache
def _holds(seam: Seam) -> bool:
    if os.environ.get(SWITCH, "").lower() == "off":
        logger.info("seam %s: off, by %s", seam.name, SWITCH)
        return False
    problem = seam.problem()
    if problem:
        logger.warning("seam %s: off, since %s is not as expected: %s", seam.name, seam.vendor, problem)
        return False
    logger.info("seam %s: on", seam.name)
    return True


def expect(found: object, *names: str) -> None:
    """Raise Unexpected unless the object has all these attributes. For probes."""
    missing = [name for name in names if not hasattr(found, name)]
    if missing:
        raise Unexpected(f"{getattr(found, '__name__', found)} has no {', no '.join(missing)}")


def expect_use(function: Callable[..., Any], *names: str) -> None:
    """Raise Unexpected unless the code of a Python function speaks of all these names. For probes."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None:
        raise Unexpected(f"{function} is no Python function")
    missing = set(names).difference(code.co_names, code.co_freevars, code.co_varnames, code.co_consts)
    if missing:
        raise Unexpected(f"{function.__qualname__} does not use {', '.join(sorted(missing))}")


FORK_SERVER = Seam(
    "fork-server",
    "multiprocessing",
    "pipelines.processes.fork_server:probe",
    "vLLM is imported once on a machine, while Ray starts: the first row after 8 s instead of 16 (decision 14)",
)
FORKED_ENGINE = Seam(
    "forked-engine",
    "vLLM",
    "pipelines.engines.vllm.engine:probe_context",
    "EngineCore is a fork with vLLM imported: 36 s instead of 47 for 400 chats; it says why it dies (decisions 9, 21)",
)
FINAL_OUTPUTS = Seam(
    "final-outputs",
    "vLLM",
    "pipelines.engines.vllm.final_output_scheduler:probe",
    "a row's tokens leave EngineCore together, so the process in front has nothing to do between (decision 10)",
)
GRAMMARS = Seam(
    "grammars",
    "vLLM",
    "pipelines.engines.vllm.grammars:probe",
    "a grammar that explodes ends its row, not the job (decision 32)",
)
FAST_CHAT = Seam(
    "fast-chat",
    "vLLM",
    "pipelines.engines.vllm.fast_chat:probe",
    "plain chats without the serving layer's dozen objects: 0.4 ms a row in front instead of 1.4 (decisions 10, 12)",
)
CPU_KERNELS = Seam(
    "cpu-kernels",
    "vLLM",
    "pipelines.engines.vllm.cpu.kernels:probe",
    "a norm is one kernel on CPUs: a third less time of a small model (decision 11)",
)
CPU_CACHE = Seam(
    "cpu-cache",
    "vLLM",
    "pipelines.engines.vllm.cpu.worker:probe",
    "the KV cache of a CPU is not filled with zeros first: 0.03 s instead of 2.6 (decision 15)",
)
RAY_ONE_MACHINE = Seam(
    "ray-one-machine",
    "Ray",
    "pipelines.cluster.one_machine:probe",
    "no actors that look after a cluster: a twentieth of a short job on two cores (decision 16)",
)
RAY_START = Seam(
    "ray-start",
    "Ray",
    "pipelines.cluster.ray_start:probe_start",
    "a node gets more than 30 s to start: on a loaded machine eight jobs had ended by that",
)
RAY_DEATH = Seam(
    "ray-death",
    "Ray",
    "pipelines.cluster.ray_start:probe_death",
    "the death of the raylet ends the attempt at once, and is told as that",
)
RAY_SAFE_PATH = Seam(
    "ray-safe-path",
    "Ray",
    "pipelines.cluster.ray_start:probe_path",
    "no actor takes a folder where the user stands for one of our packages",
)

SEAMS = (
    FORK_SERVER,
    FORKED_ENGINE,
    FINAL_OUTPUTS,
    GRAMMARS,
    FAST_CHAT,
    CPU_KERNELS,
    CPU_CACHE,
    RAY_ONE_MACHINE,
    RAY_START,
    RAY_DEATH,
    RAY_SAFE_PATH,
)
