"""Ends what a process leaves behind when it is killed: GPU memory must not stay taken, nor a folder full of sockets.

vLLM's EngineCore does not notice that its parent was killed (measured: alive, with all its memory, minutes later). A
fork server that is killed while it imports goes on importing. Knows nothing of Ray and of vLLM.
"""

import os
import subprocess
from contextlib import suppress
from pathlib import Path

from pipelines.processes.fork_server import forks

FINISHES = "batchctl::EngineHost"
"""How the title of a process begins that ends by itself when its owner is gone, and has something to write before."""

# Reads `PID STARTED` until this process is gone, which closes the pipe. Those that finish have four seconds for it.
# Then it kills what is left of all, unless the number has become another process's. All are stopped first: a host that
# saw its engine die before itself would blame the rows in flight. What Intel's OpenMP and the process's folder have
# left is removed. The shell does so from the background of one that is gone at once: Ray kills the children of a
# worker that ends, and would kill it too.
_SCRIPT = """
exec 3<&0
find_left() {
    left=
    for one in $known; do
        read -r status < "/proc/${one%:*}/stat" || continue
        set -- ${status##*) }
        [ "${20}" != "${one#*:}" ] || left="$left ${one%:*}"
    done
}
finishing() {
    find_left
    for one in $left; do
        read -r title < "/proc/$one/cmdline"
        case "$title" in "$finishes"*) return 0 ;; esac
    done
    return 1
}
{
    finishes=$4
    while read -r pid started; do known="$known $pid:$started"; done
    for look in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        finishing || break
        sleep 0.2
    done
    find_left
    [ -z "$left" ] || { kill -STOP $left; kill -KILL $left; }
    for one in "$1:" $known; do rm -f "/dev/shm/__KMP_REGISTERED_LIB_${one%:*}_$2"; done
    [ -z "$3" ] || rm -rf -- "$3" || { sleep 1; rm -rf -- "$3"; }
} <&3 2>/dev/null &
"""


class Reaper:
    """A small shell that outlives this process just long enough to kill its forks and descendants.

    `folder`: the private one of this process, which goes with it.
    """

    def __init__(self, folder: Path | None = None) -> None:
        theirs, self._pipe = os.pipe()  # a bare descriptor: it is closed by the end of this process, by nothing else
        subprocess.run(
            ["/bin/sh", "-c", _SCRIPT, "reaper", str(os.getpid()), str(os.getuid()), str(folder or ""), FINISHES],
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
        os.close(theirs)
        self._known: set[int] = set()

    def look(self) -> None:
        """Take the forks of this process and all descendants that have come since the last look under guard."""
        everyone = forks().union(*map(descendants, {os.getpid(), *forks()}))
        fresh = everyone - self._known
        self._known |= fresh
        told = "".join(f"{pid} {started}\n" for pid in sorted(fresh) if (started := _started(pid)))
        with suppress(BrokenPipeError):  # somebody killed the shell: nothing is guarded any more
            os.write(self._pipe, told.encode())


def descendants(pid: int) -> set[int]:
    """Return the pids of the processes below `pid`; none where /proc does not tell."""
    found: set[int] = set()
    tasks = f"/proc/{pid}/task"
    with suppress(OSError):  # the process ended meanwhile
        for thread in os.listdir(tasks):  # noqa: PTH208 - a third of what pathlib takes, each second beside the rows
            below = _children(f"{tasks}/{thread}/children")
            found.update(below, *map(descendants, below))
    return found


def _children(path: str) -> list[int]:
    try:
        with open(path, "rb") as children:  # noqa: PTH123
            return [int(child) for child in children.read().split()]
    except OSError:  # the thread ended meanwhile
        return []


def _started(pid: int) -> str:
    """Return when a process started, in ticks of the system, which tells it from a later one; empty when it is gone."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return status.rpartition(")")[2].split()[19]
