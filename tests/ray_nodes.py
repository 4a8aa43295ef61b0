"""A Ray cluster of several nodes on this machine, made by a script that may be told more while it runs."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from attempts import check_gone
from processes import descendants
from terminal import start_script

GONE_WITHIN_S = 10.0


@contextmanager
def ray_nodes(script: str, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """The script's process; the nodes that it has made are killed at the end, and awaited."""
    process = start_script(script, environment)
    try:
        yield process
    finally:
        everyone = descendants(process.pid)
        for member in everyone:
            member.kill()
        process.communicate()
        check_gone(lambda: [member for member in everyone if member.is_alive], GONE_WITHIN_S)
