"""How Python programs hear of odd rows: by Python's own warnings."""

import warnings

from batch.submission.first_look import FirstLook


def _warn(warning: str) -> None:
    warnings.warn(warning, UserWarning, stacklevel=2)


def _leave_to_the_exception(_: str) -> None:
    """The exception that follows has the first of these lines."""


LENIENT = FirstLook(may_all_fail=True, warn=_warn, show_line=_leave_to_the_exception)
STRICT = FirstLook(may_all_fail=False, warn=_warn, show_line=_leave_to_the_exception)
