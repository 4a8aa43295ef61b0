"""The failures of a job, as exceptions; each carries the exit code a command ends with.

    BatchError (1)
    ├── UsageError (2)            a flag, value, file or scheme that cannot work: nothing was started
    │   └── SpecMismatch          the job exists with another spec
    ├── InvalidInput (2)          --on-invalid fail met bad rows
    ├── JobNotFound (2)
    ├── JobHeld (5)               another attempt runs the job
    └── JobFailed (1)
        ├── InputChanged          an input file is not the one that was planned
        ├── JobGone               its place was emptied, or given to another job, while it ran
        └── ResourcesUnavailable  no GPU, memory or node for the engine

A bad row is not an exception: see `batch.result.RowFailure`. Knows nothing of stores, rows or engines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from batch.exit_codes import ExitCode

if TYPE_CHECKING:
    from batch.result import RowFailure


class BatchError(Exception):
    """A job, or a request about one, cannot go on. `str(error)` is one sentence for the user.

    `resumable`: whether the same command goes on with the job.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED
    resumable: ClassVar[bool] = True


class UsageError(BatchError):
    """What was asked for cannot work; nothing was started."""

    exit_code = ExitCode.USAGE
    resumable = False


class SpecMismatch(UsageError):
    """A job stands there with another spec. `differences`: field -> (stored, given)."""

    def __init__(self, message: str, differences: Mapping[str, tuple[object, object]] | None = None) -> None:
        super().__init__(message)
        self.differences = dict(differences or {})


class InvalidInput(BatchError):
    """Bad rows, and the job was told to fail on them. `failures`: the first of them."""

    exit_code = ExitCode.USAGE
    resumable = False

    def __init__(self, message: str, failures: Sequence[RowFailure] = ()) -> None:
        super().__init__(message)
        self.failures = list(failures)


class JobNotFound(BatchError):
    """No job under this id or output."""

    exit_code = ExitCode.USAGE


class JobHeld(BatchError):
    """Another attempt runs the job. `holder`: who, in words."""

    exit_code = ExitCode.HELD

    def __init__(self, message: str, holder: str = "") -> None:
        super().__init__(message)
        self.holder = holder


class JobFailed(BatchError):
    """The job ended, or has to end, without its result."""


class InputChanged(JobFailed):
    """An input file is not the one that was planned."""

    resumable = False


class JobGone(JobFailed):
    """The job's place was emptied, or given to another job, while it ran."""

    resumable = False


class ResourcesUnavailable(JobFailed):
    """No GPU, memory or node for the engine."""
