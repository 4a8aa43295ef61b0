"""Ends what an engine leaves behind when the process that owns it is killed: GPU memory must not stay taken.

vLLM's EngineCore does not notice that its parent was killed (measured: alive, with all its memory, minutes later).
Knows nothing of Ray and of vLLM.
"""

import os
import subprocess
from pathlib import Path

from pipelines.fork_server import forks

# Reads pids until this process is gone, which closes the pipe; then kills what is left of them. It does so from the
# background of a shell that is gone at once: Ray kills the children of a worker that ends, and would kill it too.
_SCRIPT = (
    'exec 3<&0; { while read -r pid; do pids="$pids $pid"; done; [ -z "$pids" ] || kill -9 $pids; } <&3 2>/dev/null &'
)


class Guardian:
    """A small shell that outlives this process just long enough to kill its forks and descendants."""

    def __init__(self) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._shell.wait()
        self._known: set[int] = set()

    def look(self) -> None:
        """Take the forks of this process and all descendants that have come since the last look under guard."""
        everyone = forks().union(*map(descendants, {os.getpid(), *forks()}))
        fresh = everyone - self._known
        if fresh and self._shell.stdin is not None:
            self._known |= fresh
            self._shell.stdin.write("".join(f"{pid}\n" for pid in sorted(fresh)).encode())
            self._shell.stdin.flush()


def descendants(pid: int) -> set[int]:
    """Return the pids of the processes below `pid`; none where /proc does not tell."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            below = [int(child) for child in children.read_text(encoding="ascii").split()]
        except OSError:  # the thread ended meanwhile
            continue
        found.update(below, *(descendants(child) for child in below))
    return found
