"""A folder that one process has to itself, with all that it starts: for sockets, keys, and what libraries put down.

Its path is short, because a socket's has 107 bytes. No other user can look into it. It goes when its owner goes: with
the owner's reaper, else at the next start of any job of this user, or by `batchctl clean`. Knows nothing of jobs.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from batch.errors import UsageError

PREFIX = "batchctl-"
OWNER = "owner.json"
"""The file by which a folder is known as one of ours. Its owner holds a lock on it as long as it lives."""
MADE_BY = "batchctl, for one process"
SOCKET_PATH_BYTES = 107
LONGEST_BELOW = "ray/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A private folder whose owner is gone. `job`: what the owner ran; empty where it had no time to say so."""

    path: Path
    job: str
    size_bytes: int


def make(job: str, candidates: Sequence[Path]) -> Path:
    """Make one for this process, for as long as it lives, in the first place that is short enough and can be written.

    `job`: what the process runs, for people. Raises UsageError where there is no such place.
    """
    longest, refusals = longest_place_bytes(), []
    for place in candidates:
        if len(os.fsencode(place)) > longest:
            refusals.append(f"{place} is too long")
            continue
        try:
            return _make_in(place, job)
        except OSError as error:
            refusals.append(f"{place}: {error.strerror or error}")
    raise UsageError(
        f"TMPDIR={candidates[0]}: sockets need a folder whose path has at most {longest} bytes, since their own has "
        f"{SOCKET_PATH_BYTES}, and none can be had ({'; '.join(refusals)}); set TMPDIR to one that can be written"
    )


def places(environ: Mapping[str, str]) -> list[Path]:
    """Where private folders are made: the user's temporary folder, then others that are short."""
    wanted = (environ.get("TMPDIR"), "/tmp", environ.get("XDG_RUNTIME_DIR"), "/var/tmp", "/dev/shm")
    return list(dict.fromkeys(Path(place).absolute() for place in wanted if place))


def longest_place_bytes() -> int:
    """Return how long the path of a place may be, for all sockets below it."""
    return SOCKET_PATH_BYTES - len(f"/{PREFIX}12345678/{LONGEST_BELOW}")


def find_abandoned(candidates: Sequence[Path]) -> Iterator[Abandoned]:
    """Yield the private folders of this user in such places that belong to no living process."""
    for place in candidates:
        with suppress(OSError):
            for path in sorted(place.glob(f"{PREFIX}*")):
                found = _examine(path)
                if found is not None:
                    yield found


def remove(folder: Path) -> None:
    """Remove a private folder and what it holds; what cannot go is left for the next time, still known as ours."""
    with suppress(OSError):
        for below in folder.iterdir():
            if below.is_dir() and not below.is_symlink():
                shutil.rmtree(below, ignore_errors=True)
            elif below.name != OWNER:
                below.unlink()
        if [below.name for below in folder.iterdir()] == [OWNER]:
            (folder / OWNER).unlink()
        folder.rmdir()


def make_below(top: Path, folder: Path) -> None:
    """Make the folder `top` and those below it down to `folder`, for this user alone, whatever the umask.

    Raises OSError, also where somebody else has put something there.
    """
    top.parent.mkdir(parents=True, exist_ok=True)
    for path in (*(parent for parent in reversed(folder.parents) if parent.is_relative_to(top)), folder):
        with suppress(FileExistsError):
            path.mkdir(0o700)
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            raise PermissionError(errno.EPERM, f"{path} is no folder of this user's")
        path.chmod(0o700)  # an older version made them as the umask had it


def write_secret(path: Path, content: str) -> None:
    """Write a new file that this user alone can read, whatever the umask."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)


def _make_in(place: Path, job: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    try:
        _check_sockets(folder)
        _own(folder, job)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


def _check_sockets(folder: Path) -> None:
    """Raise OSError where the file system has none."""
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as trying:
        trying.bind(str(path))
    path.unlink()


def _own(folder: Path, job: str) -> None:
    """Take the folder for this process. The file stays open, and with it the lock, until the process ends."""
    descriptor = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.write(descriptor, json.dumps({"made_by": MADE_BY, "pid": os.getpid(), "job": job}).encode())


def _examine(folder: Path) -> Abandoned | None:
    """Return what is known of a folder that is certainly ours and nobody's; None for any other."""
    try:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            return None
        descriptor = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            owner = json.loads(file.read() or b"{}")
        except (OSError, ValueError):
            return None
    if not isinstance(owner, dict) or owner.get("made_by") != MADE_BY:
        return None
    return Abandoned(folder, str(owner.get("job", "")), _size_bytes(folder))


def _size_bytes(folder: Path) -> int:
    size_bytes = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                size_bytes += Path(parent, name).lstat().st_size
    return size_bytes
