"""From an exception to the error that a person is told of. Knows nothing of Ray."""

import re
from typing import TypeAlias

from batch.errors import BatchError, JobFailed
from connectors.errors import InputError, StoreError

Ours: TypeAlias = BatchError | StoreError | InputError
"""Errors whose sentence is for people as it is."""

Kind: TypeAlias = type[BaseException] | tuple[()]

_MISTAKES = re.compile(r"\d+ validation errors? for \S+\n(?P<first>.*?) \[type=", re.DOTALL)
_KINDS_OF_NO_MATTER = ("ValidationError", "Exception")


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


def cannot_start(cause: str) -> JobFailed:
    """Return what is told of an engine that does not start, by one sentence of why."""
    return JobFailed(f"The engine cannot start: {cause} (the log has the whole story)")


def told(error: BaseException) -> str:
    """Return an error's kind, where that tells something, and the first sentence of it."""
    kind = type(error).__name__
    return first_line(error) if kind in _KINDS_OF_NO_MATTER else f"{kind}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """Return what an error says first, on one line."""
    return first_sentence(str(error))


def first_sentence(text: str) -> str:
    """Return the first line of a text, and what follows where it ends in a colon; of pydantic's the first mistake."""
    text = _MISTAKES.sub(_first_mistake, text.strip())
    line = text.split("\n")[0].rstrip()
    return " ".join(text.split()) if line.endswith(":") else line


def _first_mistake(found: re.Match[str]) -> str:
    """Its place, where pydantic tells one, and its first sentence."""
    place, *rest = (line.strip() for line in found["first"].split("\n"))
    told = f"{place}: {rest[0]}" if rest and " " not in place else place
    return told.replace("Value error, ", "", 1) + "\n"
