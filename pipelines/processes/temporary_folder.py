"""Gives this process, and all that it starts, a temporary folder of its own. Knows nothing of Ray and of engines."""

import getpass
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from batch.machine import private_folder
from pipelines.processes.reaper import Reaper


def settle(job: str) -> Reaper:
    """Set the temporary folder of this process to a private one, and put that under a reaper, which removes it.

    What crashed jobs of this user have left in such folders is removed first. Raises UsageError where none can be had.
    """
    places = private_folder.places(os.environ)
    for left in private_folder.find_abandoned(places):
        private_folder.remove(left.path)
    folder = private_folder.make(job, places)
    os.environ |= environment(folder, os.environ)
    tempfile.tempdir = None  # it is read anew
    return Reaper(folder)


def environment(folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Return what makes `folder` the temporary one. What is large, or kept for the next job, stays where it was."""
    spills, caches = environ.get("TMPDIR") or "/var/tmp", environ.get("TMPDIR") or "/tmp"
    kept = {
        "SQLITE_TMPDIR": spills,  # the places that SQLite and torch take by themselves
        "TORCHINDUCTOR_CACHE_DIR": str(Path(caches, f"torchinductor_{_user()}")),
    }
    return {"TMPDIR": str(folder)} | {name: value for name, value in kept.items() if name not in environ}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry in the system's list, as in containers
        return str(os.getuid())
