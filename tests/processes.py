"""The processes of this machine as /proc tells them, to find by its own parents what a test may kill."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """`started`: clock ticks since boot, which tells it from a later process with its number."""

    pid: int
    parent: int
    started: str
    command: str

    @property
    def is_alive(self) -> bool:
        found = _read(self.pid)
        return found is not None and found.started == self.started

    def kill(self) -> None:
        """SIGKILL, to this very process."""
        if self.is_alive:
            os.kill(self.pid, signal.SIGKILL)


def descendants(pid: int) -> list[Process]:
    """The process and all below it that live now."""
    everyone = [found for entry in Path("/proc").glob("[0-9]*") if (found := _read(int(entry.name))) is not None]
    family = {pid}
    while True:
        grown = family | {process.pid for process in everyone if process.parent in family}
        if grown == family:
            return [process for process in everyone if process.pid in family]
        family = grown


def _read(pid: int) -> Process | None:
    """None for a process that is gone, or only waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return None
    state, parent, *rest = stat.rpartition(")")[2].split()
    return None if state in "ZX" else Process(pid, int(parent), rest[17], words)
