"""Runs a command to its end and says what it took: seconds, CPU and memory of its whole tree of processes.

Linux only. Knows nothing of what the command does.
"""

import ctypes
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import IO

from benchmarks.machine import TICKS_PER_S, cpu_times

SAMPLE_EVERY_S = 0.5
ENDING_S = 30.0
PR_SET_CHILD_SUBREAPER = 36

RAY_TITLE = re.compile(r"ray::(?:MapWorker\(MapBatches\()?(\w+)")
"""What Ray calls a worker: the actor or task it runs, perhaps in the wrapper of Ray Data, and the method."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took. Times of day are Unix seconds."""

    exit_code: int
    started_at: float
    wall_s: float
    cpu_s: float
    """Of all processes of its tree, up to each one's last sample: short by at most half a second each."""
    steal_share: float
    """Of the machine's CPU time in between, what the host gave to others."""
    others_share: float
    """Of the same, what other processes of this machine used."""
    peak_pss_bytes: int
    """Highest sum of proportional set sizes over the tree; 0 unless memory was sampled."""
    peak_pss_by_process: dict[str, int]


@dataclass(slots=True)
class Samples:
    """What the sampler has seen so far of the descendants of this process."""

    with_memory: bool
    cpu_ticks: dict[tuple[int, int], int] = field(default_factory=dict)
    peak_pss_bytes: int = 0
    peak_pss_by_process: dict[str, int] = field(default_factory=dict)

    def take(self) -> None:
        """Look at every process of the tree once."""
        sum_bytes = 0
        for process in descendants(os.getpid()):
            self.cpu_ticks[process.pid, process.started_ticks] = process.cpu_ticks
            if self.with_memory:
                pss_bytes = _pss_bytes(process.pid)
                sum_bytes += pss_bytes
                name = process_name(process.pid)
                self.peak_pss_by_process[name] = max(pss_bytes, self.peak_pss_by_process.get(name, 0))
        self.peak_pss_bytes = max(self.peak_pss_bytes, sum_bytes)


@dataclass(frozen=True, slots=True)
class Process:
    """A line of /proc: who, whose child, and CPU used until now."""

    pid: int
    parent: int
    started_ticks: int
    cpu_ticks: int


def run_measured(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    log: Path,
    with_memory: bool = False,
) -> Cost:
    """Run `command` and wait until it and all that it started have ended.

    Its output goes to `log`, each line behind the Unix time at which it came. Raises TimeoutError for processes that
    are still there ENDING_S after it; they are killed. For a process without other children: it takes all for its own.
    """
    # Daemons of Ray outlive the process that started them; as our children they can still be counted and awaited.
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    samples = Samples(with_memory)
    before, started_at = cpu_times(), time.time()
    with subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as child:
        assert child.stdout is not None
        with _in_background(_stamp, child.stdout, log), _every(SAMPLE_EVERY_S, samples.take):
            exit_code = child.wait()
            wall_s, during = time.time() - started_at, cpu_times() - before
            _await_descendants()
    cpu_s = sum(samples.cpu_ticks.values()) / TICKS_PER_S
    return Cost(
        exit_code=exit_code,
        started_at=started_at,
        wall_s=wall_s,
        cpu_s=cpu_s,
        steal_share=during.stolen_s / during.total_s,
        others_share=max(0.0, during.busy_s - cpu_s) / during.total_s,
        peak_pss_bytes=samples.peak_pss_bytes,
        peak_pss_by_process=dict(sorted(samples.peak_pss_by_process.items())),
    )


def descendants(root: int) -> list[Process]:
    """Return the processes below `root` that are there now."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (process := _read_process(int(entry.name))):
            children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    waiting = [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += [process.pid for process in below]
    return found


def process_name(pid: int) -> str:
    """Return what a process runs, short: a Python module or script, a Ray title, else the name of its file."""
    with suppress(OSError):
        return name_of_command(Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0"))
    return ""


def name_of_command(words: Sequence[bytes]) -> str:
    """Return the short name of a command line."""
    first, *others = [word.decode(errors="replace") for word in words]
    if actor := RAY_TITLE.match(first):
        return f"ray::{actor[1]}"
    if not Path(first).name.startswith("python"):
        return Path(first.split(" ")[0]).name
    if "-m" in others:
        return others[others.index("-m") + 1]
    return next((Path(word).name for word in others if not word.startswith("-")), "python")


def _read_process(pid: int) -> Process | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:  # it has ended since it was listed
        return None
    return Process(pid, int(fields[1]), int(fields[19]), int(fields[11]) + int(fields[12]))


def _pss_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def _stamp(output: IO[bytes], log: Path) -> None:
    """Copy lines with the time at which the first byte of each came; a carriage return ends a line too."""
    with log.open("w", encoding="utf-8") as file:
        is_new = True
        while chunk := os.read(output.fileno(), 1 << 16):
            now = time.time()
            for piece in chunk.replace(b"\r", b"\n").splitlines(keepends=True):
                file.write(f"{now:.4f} " * is_new + piece.decode(errors="replace"))
                is_new = piece.endswith(b"\n")


@contextmanager
def _in_background(work: Callable[[IO[bytes], Path], None], output: IO[bytes], log: Path) -> Iterator[None]:
    thread = Thread(target=work, args=(output, log), daemon=True)
    thread.start()
    yield
    thread.join()


@contextmanager
def _every(seconds: float, work: Callable[[], None]) -> Iterator[None]:
    ended = Event()

    def repeat() -> None:
        while not ended.wait(seconds):
            work()

    thread = Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _await_descendants() -> None:
    give_up_at = time.monotonic() + ENDING_S
    while left := descendants(os.getpid()):
        if time.monotonic() > give_up_at:
            names = sorted(process_name(process.pid) for process in left)
            for process in left:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            raise TimeoutError(
                f"still running {ENDING_S:g} s after their command: {', '.join(names)}; they were killed"
            )
        _reap_adopted()
        time.sleep(0.1)


def _reap_adopted() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass
