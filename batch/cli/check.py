"""Bad lines as the command line tells them, and the refusal of a job that may have none. Starts nothing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from batch.display import address, shortened
from batch.errors import InvalidInput
from batch.plan import make_plan
from batch.validation import find_failures

if TYPE_CHECKING:
    from batch.result import RowFailure
    from batch.spec import JobSpec

_KEPT_FAILURES = 100
_MAX_MESSAGE_CHARACTERS = 1000


def describe(failure: RowFailure) -> str:
    """`file:line: code: message`, escaped, on one line."""
    place = failure.place
    message = shortened(failure.message, _MAX_MESSAGE_CHARACTERS)
    return f"{address(place.file)}:{place.line}: {failure.code.value}: {message}"


def refuse_invalid_lines(spec: JobSpec) -> None:
    """Print every bad line of the inputs on stderr. InvalidInput when there was one."""
    bad = 0
    kept: list[RowFailure] = []
    for failure in find_failures(spec, make_plan(spec)):
        bad += 1
        kept += [failure] if bad <= _KEPT_FAILURES else []
        print(describe(failure), file=sys.stderr)
    if bad:
        lines = "1 line is" if bad == 1 else f"{bad:,} lines are"
        raise InvalidInput(
            f"{lines} invalid and --on-invalid is fail, so nothing was started: mend the input, "
            "or use --on-invalid quarantine to write such lines to errors/.",
            kept,
        )
