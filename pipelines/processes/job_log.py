"""The job's log: what its processes write to their standard output."""

import logging
import os
import sys
from pathlib import Path

from batch.machine.launcher import opened_log

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def begin() -> None:
    """Write what this process logs there, each line with its time."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stdout)


def move_to(log: str) -> None:
    """Have all that this process writes appended to another job's log."""
    with opened_log(Path(log)) as file:
        sys.stdout.flush()
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def begin_again() -> None:
    """The same, once: Ray adds a handler of its own when it starts, and each line would stand there twice."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stdout, force=True)
