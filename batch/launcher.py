"""Starts the worker of a job as a process of its own. Knows nothing of what a worker does, and waits for none."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from batch import layout
from batch.profile import state_folder
from connectors.uri import parse_uri

WORKER_MODULE = "pipelines.worker"


def start_worker(
    output_uri: str,
    *,
    foreground: bool,
    replicas: str | None = None,
    ray_address: str | None = None,
    log: Path,
    module: str = WORKER_MODULE,
) -> subprocess.Popen[bytes]:
    """`python -m pipelines.worker --job URI`, its stdout and stderr appended to `log`.

    In the foreground its stdin is a pipe, whose end tells the worker that this process is gone; in the background
    it has a session of its own and outlives this process.
    """
    # -P: a folder named `pipelines` where the user happens to stand must not be taken for ours.
    command = [sys.executable, "-P", "-m", module, "--job", output_uri]
    command += ["--replicas", replicas] if replicas else []
    command += ["--ray-address", ray_address] if ray_address else []
    command += ["--foreground"] if foreground else []
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE if foreground else subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=not foreground,
        )


def log_path(output_uri: str, *, job_id: str, attempt: int) -> Path:
    """Where the log of an attempt lies: under a local output, else in the user's state folder."""
    output = parse_uri(output_uri)
    if output.scheme == "file":
        return Path(output.path) / layout.log(attempt)
    return state_folder() / "logs" / job_id / Path(layout.log(attempt)).name


def _environment() -> dict[str, str]:
    """Ours, in which the packages beside this one are found from any folder, also from a source tree."""
    root = str(Path(__file__).resolve().parents[1])
    if root == sysconfig.get_path("purelib"):
        return dict(os.environ)
    inherited = os.environ.get("PYTHONPATH")
    return os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{inherited}" if inherited else root}
