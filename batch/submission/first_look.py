"""Bad lines in words, and the refusal of a job that cannot have a result. Starts nothing, and prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from batch.errors import InvalidInput
from batch.planning.first_rows import look
from batch.planning.plan import make_plan
from batch.planning.validation import find_failures
from batch.text import address, shortened

if TYPE_CHECKING:
    from batch.result import RowFailure
    from batch.spec.job_spec import JobSpec
    from connectors.datasets.reader import InputFile

Tell: TypeAlias = Callable[[str], None]
"""Takes one sentence for the user."""

_KEPT_FAILURES = 100
_MAX_MESSAGE_CHARACTERS = 1000


def describe(failure: RowFailure) -> str:
    """`file:line: code: message`, escaped, on one line."""
    place = failure.place
    message = shortened(failure.message, _MAX_MESSAGE_CHARACTERS)
    return f"{address(place.file)}:{place.line}: {failure.code.value}: {message}"


@dataclass(frozen=True, slots=True)
class FirstLook:
    """How a job's rows are looked at before it starts. `may_all_fail`: rows that all fail are no reason to refuse it.

    `warn` hears what is odd; `show_line` each bad line of a job that is to have none.
    """

    may_all_fail: bool
    warn: Tell
    show_line: Tell

    def __call__(self, spec: JobSpec, files: Sequence[InputFile]) -> None:
        """Look at the first rows of a job. InvalidInput when all of them fail for one setting of the job."""
        found = look(spec, files)
        for warning in found.warnings:
            self.warn(warning)
        if found.failure is not None:
            self._tell_of(found.named, found.failure, rows=found.rows)

    def _tell_of(self, named: str, failure: RowFailure, *, rows: int) -> None:
        reason = f"the {named} {'fails' if rows == 1 else 'fail for one reason'}: {describe(failure)}"
        if not self.may_all_fail:
            raise InvalidInput(
                f"Nothing was started, since {reason.removesuffix('.')}. "
                "With --on-invalid quarantine the job runs, and writes such rows to errors/.",
                [failure],
            )
        self.warn(reason)

    def refuse_invalid_lines(self, spec: JobSpec) -> None:
        """Show every bad line of the inputs. InvalidInput when there was one."""
        bad = 0
        kept: list[RowFailure] = []
        for failure in find_failures(spec, make_plan(spec)):
            bad += 1
            kept += [failure] if bad <= _KEPT_FAILURES else []
            self.show_line(describe(failure))
        if bad:
            lines = "1 line is" if bad == 1 else f"{bad:,} lines are"
            raise InvalidInput(
                f"{lines} invalid and --on-invalid is fail, so nothing was started: mend the input, "
                "or use --on-invalid quarantine to write such lines to errors/.",
                kept,
            )
