"""How Python programs hear of odd rows: by Python's own warnings, told of the line that called us."""

import inspect
import warnings

from batch.submission.first_look import FirstLook

PACKAGE = __name__.partition(".")[0]


def _warn(warning: str) -> None:
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == PACKAGE:
        frame, level = frame.f_back, level + 1
    warnings.warn(warning, UserWarning, stacklevel=level)


def _leave_to_the_exception(_: str) -> None:
    """The exception that follows has the first of these lines."""


LENIENT = FirstLook(may_all_fail=True, warn=_warn, show_line=_leave_to_the_exception)
STRICT = FirstLook(may_all_fail=False, warn=_warn, show_line=_leave_to_the_exception)
