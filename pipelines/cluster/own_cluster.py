"""What Ray finds in the environment where the cluster is this machine's, for one job. To be set before its import.

Ray knows no other way to be told these things. Imports no Ray itself.
"""

import os
import secrets
import tempfile
from pathlib import Path

from batch.machine.private_folder import write_secret
from pipelines.processes import temporary_folder
from pipelines.processes.reaper import Reaper

TOKEN = "ray_token"
LIMITS = {
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_worker_register_timeout_seconds": "120",
    "RAY_agent_register_timeout_ms": "120000",
    "RAY_raylet_start_wait_time_s": "1",  # of one look for the raylet; how many there are: ray_start.py
}
"""Of the steps of Ray's start. Its own, half a minute most of them, are too short where the machine has much to do."""


def settle(job: str) -> Reaper:
    """Give this process a private temporary folder, and the cluster that it will start all its files there.

    No other user can use that cluster: it listens on this machine's loopback only, and its token is random and read by
    this user alone. Ray would make a token file in the user's home, which every user can read.
    """
    reaper = temporary_folder.settle(job)
    folder = Path(tempfile.gettempdir())
    token = folder / TOKEN
    write_secret(token, secrets.token_hex(32))
    os.environ.pop("RAY_AUTH_TOKEN", None)  # it would go before the file
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_TMPDIR": str(folder),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # Ray's word for: no other machine will join
    }
    for name, value in LIMITS.items():
        os.environ.setdefault(name, value)
    return reaper
