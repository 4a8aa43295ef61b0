"""Values read as OpenAI-compatible servers read them: by pydantic's lax mode, whose rules are asked for and not copied.

A CSV file holds nothing but text, and some clients write every number as one. None: a server would refuse the value.
pydantic is imported for the first value that has not its type already.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import TypeAdapter


EXACT = 2**53
"""Integers up to here are floats, too."""


def as_integer(value: object) -> int | None:
    """Return the integer that a value is: 16.0, "16" and "16.0" are 16, true is 1."""
    return value if type(value) is int else _read(int, value)


def as_number(value: object) -> float | None:
    """Return the number that a value is: "0.5" is 0.5, false is 0.0, a long integer the nearest float."""
    if type(value) is float:
        return value
    if type(value) is int and abs(value) <= EXACT:
        return value
    number: float | None = _read(float, value)
    return number


def as_truth(value: object) -> bool | None:
    """Return the truth value that a value is: 1, "true", "yes" and "on" are true."""
    return value if type(value) is bool else _read(bool, value)


def _read(kind: type, value: object) -> Any:
    from pydantic import ValidationError

    try:
        return _adapter(kind).validate_python(value)
    except ValidationError:
        return None


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
