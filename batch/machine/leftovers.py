"""What jobs that crashed have left on this machine: found, and removed. Only what is certainly ours, and nobody's.

Knows nothing of workers.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from batch.machine import private_folder
from connectors.stores.registry import torn_files

_OLD_LOCK = re.compile(r"batchctl-.+-\d+-\d+\.lock")


class Kind(StrEnum):
    """What a leftover is, in words for people."""

    FOLDER = "temporary folder"
    TORN = "half-written file"
    LOCK = "lock of an earlier version"


@dataclass(frozen=True, slots=True)
class Leftover:
    """One of them. `job`: the output of the job that left it, where that is known."""

    kind: Kind
    path: Path
    size_bytes: int
    job: str

    def remove(self) -> None:
        """Remove it; what cannot go stays."""
        if self.kind is Kind.FOLDER:
            private_folder.remove(self.path)
        else:
            with suppress(OSError):
                self.path.unlink()


def find(outputs: Iterable[str], environ: Mapping[str, str]) -> Iterator[Leftover]:
    """Yield what lies in this machine's temporary folders, and below the `outputs` of jobs."""
    for folder in private_folder.find_abandoned(private_folder.places(environ)):
        yield Leftover(Kind.FOLDER, folder.path, folder.size_bytes, folder.job)
    for path in sorted(Path(tempfile.gettempdir()).glob("batchctl-*.lock")):
        if _OLD_LOCK.fullmatch(path.name) and _is_free_lock(path):
            yield Leftover(Kind.LOCK, path, 0, "")
    for output in outputs:
        for path in torn_files(output):
            with suppress(OSError):
                yield Leftover(Kind.TORN, path, path.lstat().st_size, output)


def _is_free_lock(path: Path) -> bool:
    """Whether it is an empty file of this user that no process has locked."""
    try:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            status = os.fstat(file.fileno())
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid() and status.st_size == 0
