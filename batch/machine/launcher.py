"""Starts the worker of a job as a process of its own, and ends it. Knows nothing of what a worker does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from batch import layout
from batch.errors import UsageError
from batch.machine.private_folder import make_below
from batch.settings import state_folder
from connectors.uri import parse_uri

WORKER_MODULE = "pipelines.worker"
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
STOP_WITHIN_S = 20.0
TERMINAL_GRACE_S = 5.0
PACKAGES = ("batch", "connectors", "pipelines")


@dataclass(frozen=True, slots=True)
class Launcher:
    """Starts attempts of jobs, each as a process of its own. `module`: what runs in it."""

    module: str = WORKER_MODULE

    def start(
        self,
        output_uri: str,
        *,
        foreground: bool,
        replicas: str | None = None,
        ray_address: str | None = None,
        gpus: Sequence[str] | None = None,
        log: Path,
    ) -> subprocess.Popen[bytes]:
        """`python -m pipelines.worker --job URI`, its stdout and stderr appended to `log`.

        In the foreground its stdin is a pipe, whose end tells the worker that this process is gone; in the background
        it has a session of its own and outlives this process. `gpus`: the numbers of those that it may use; None: all.
        """
        # -P: a folder named `pipelines` where the user happens to stand must not be taken for ours.
        command = [sys.executable, "-P", "-m", self.module, "--job", output_uri]
        command += ["--replicas", replicas] if replicas else []
        command += ["--ray-address", ray_address] if ray_address else []
        command += ["--foreground"] if foreground else []
        with opened_log(log) as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE if foreground else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=_environment() | ({} if gpus is None else {GPUS_VARIABLE: ",".join(gpus)}),
                start_new_session=not foreground,
            )


def interrupt(worker: subprocess.Popen[bytes]) -> None:
    """End a worker in the foreground so that what it has answered is kept.

    It is killed when it is still there after STOP_WITHIN_S, or at a second Ctrl-C.
    """
    try:
        if _terminal_may_have_signalled(worker):
            with suppress(subprocess.TimeoutExpired):
                worker.wait(TERMINAL_GRACE_S)
        worker.send_signal(signal.SIGINT)
        worker.wait(STOP_WITHIN_S)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        worker.kill()
        worker.wait()


def _terminal_may_have_signalled(worker: subprocess.Popen[bytes]) -> bool:
    """Whether the worker may have got the terminal's Ctrl-C itself: a second one would break off its last words."""
    try:
        return sys.stdin.isatty() and os.getpgid(worker.pid) == os.getpgrp()
    except ProcessLookupError:
        return False


def log_path(output_uri: str, *, job_id: str, attempt: int) -> Path:
    """Where the log of an attempt lies: under a local output, else with the user."""
    output = parse_uri(output_uri)
    if output.scheme == "file":
        return Path(output.path) / layout.log(attempt)
    return _users_own() / "logs" / job_id / Path(layout.log(attempt)).name


def _users_own() -> Path:
    """The state folder; where the home cannot be written, as a service's often cannot, one in the temporary folder."""
    folder = state_folder()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
        return folder
    return Path(tempfile.gettempdir(), f"batchctl-state-{os.getuid()}")


def opened_log(log: Path) -> BinaryIO:
    """Open the log to append to it: one with the user for that user alone, one in the output as the output is."""
    top = _users_own()
    if not log.is_relative_to(top):
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab")
    make_below(top, log.parent)
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600), "ab")


def _environment() -> dict[str, str]:
    """Ours, in which the packages beside this one are found from any folder, also from a source tree.

    The safe path is for what the worker starts, and what that starts: the folder that the user stands in, where a
    folder may have the name of one of ours, is no place for modules.
    """
    own = {"PYTHONSAFEPATH": "1"}
    root, inherited = str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")
    if root != sysconfig.get_path("purelib"):
        own["PYTHONPATH"] = f"{root}{os.pathsep}{inherited}" if inherited else root
    elif inherited:
        check_python_path(inherited.split(os.pathsep), Path(root))
    return os.environ | own


def check_python_path(folders: Sequence[str], root: Path) -> None:
    """Raise UsageError where a package in one of the folders, which come first, hides one of ours, below `root`."""
    for folder in map(Path, folders):
        for name in (f"{package}{end}" for package in PACKAGES for end in (".py", "/__init__.py")):
            if (folder / name).is_file() and folder.resolve() != root:
                raise UsageError(
                    f"PYTHONPATH={folder}: {folder / name} hides batchctl's own package of that name; take the folder "
                    "out of PYTHONPATH, or give the file another name"
                )
