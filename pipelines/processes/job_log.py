"""The job's log: what its processes write to their standard output."""

import logging
import sys

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def begin() -> None:
    """Write what this process logs there, each line with its time."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stdout)


def begin_again() -> None:
    """The same, once: Ray adds a handler of its own when it starts, and each line would stand there twice."""
    logging.basicConfig(level=logging.INFO, format=_FORMAT, stream=sys.stdout, force=True)
