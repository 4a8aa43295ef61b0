"""The job's log: what its processes write to their standard output."""

import logging
import sys


def begin() -> None:
    """Write what this process logs there, each line with its time."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stdout)
