"""What a command, and the process of a worker, exits with."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The codes of docs/states-and-codes.md. An IntEnum, so that each is the number itself."""

    COMPLETED = 0
    FAILED = 1
    """The job failed, or no row of it succeeded; or the command could not do what it was asked for."""
    USAGE = 2
    CANCELLED = 3
    EXPIRED = 4
    HELD = 5
    """Another attempt runs the job."""
    INTERRUPTED = 130
    """128 and the number of SIGINT, as a shell has it."""
