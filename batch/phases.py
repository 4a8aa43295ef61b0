"""What an attempt is doing, in the words that are stored and shown. Knows nothing of states."""

from enum import StrEnum


class Phase(StrEnum):
    """In the order in which an attempt goes through them."""

    STARTING = "starting"
    """It has the job, and has read nothing yet."""
    SCANNING = "scanning"
    """The inputs are read, and the plan is made."""
    STARTING_ENGINE = "starting engine"
    RUNNING = "running"
    WRITING = "writing"
    """All rows are done, and the ledger is being closed."""
