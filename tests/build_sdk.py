"""An environment of its own for the Build SDK, whose pins fit no other: made once for all runs, below build/."""

import fcntl
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "build" / "build-sdk"
PACKAGE = "fireworks-ai==0.19.20"
INSTALL_LIMIT_S = 240


def build_sdk_python() -> str:
    """The Python of that environment. Skips the test where pip cannot make it."""
    if problem := _problem():
        pytest.skip(problem)
    return str(FOLDER / "venv/bin/python")


@cache
def _problem() -> str | None:
    """Install it once for all processes; say what keeps it from being there, or None."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = FOLDER / "installed"
        if done.exists() and done.read_text() == PACKAGE:
            return None
        commands = ([sys.executable, "-m", "venv", "venv"], ["venv/bin/pip", "install", "-q", PACKAGE])
        try:
            for command in commands:
                subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, timeout=INSTALL_LIMIT_S)
        except subprocess.SubprocessError as failure:
            return f"pip could not install {PACKAGE}: {failure}"
        done.write_text(PACKAGE)
        return None
