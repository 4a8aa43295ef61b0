"""From an exception to the error that a person is told of. Knows nothing of Ray."""

from typing import TypeAlias

from batch.errors import BatchError, JobFailed
from connectors.errors import InputError, StoreError

Ours: TypeAlias = BatchError | StoreError | InputError
"""Errors whose sentence is for people as it is."""

Kind: TypeAlias = type[BaseException] | tuple[()]


def root_cause(error: BaseException, *, wrappers: Kind = (), hollow: Kind = ()) -> BaseException:
    """Return the first error of ours below it, else the last cause.

    `wrappers` may wear the class of what they wrap; `hollow` ones say nothing as a cause.
    """
    while isinstance(error, wrappers) or not isinstance(error, Ours):
        group = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        cause = group[0] if group else getattr(error, "cause", None) or error.__cause__
        if not isinstance(cause, BaseException) or isinstance(cause, hollow):
            return error
        error = cause
    return error


def unforeseen(error: BaseException, sentence: str) -> JobFailed:
    """Return what is told of an error that is none of ours, by one sentence of it."""
    return JobFailed(f"{type(error).__name__}: {sentence} (the log has the whole story)")


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().split("\n")[0]
