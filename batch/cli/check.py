"""Bad lines as the command line tells them, and the refusal of a job that cannot have a result. Starts nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from batch.errors import InvalidInput
from batch.planning.first_rows import look
from batch.planning.plan import make_plan
from batch.planning.validation import find_failures
from batch.text import address, one_line, shortened

if TYPE_CHECKING:
    from batch.result import RowFailure
    from batch.spec.job_spec import JobSpec
    from connectors.datasets.reader import InputFile

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


@dataclass(frozen=True, slots=True)
class FirstLook:
    """A look at the first rows of a job before it starts. `may_all_fail`: the user said that bad rows are no matter."""

    may_all_fail: bool
    as_json: bool

    @classmethod
    def asked_by(cls, ctx: click.Context, *, as_json: bool) -> FirstLook:
        """The look of a command that has --on-invalid: `quarantine` has to be said by the user, not by default."""
        is_said = ctx.get_parameter_source("on_invalid") is click.core.ParameterSource.COMMANDLINE
        return cls(is_said and ctx.params["on_invalid"] == "quarantine", as_json)

    def warn(self, warning: str) -> None:
        """One line on stderr."""
        warn(warning, as_json=self.as_json)

    def __call__(self, spec: JobSpec, files: Sequence[InputFile]) -> None:
        """Print what is odd about the rows. InvalidInput when all of them fail for one setting of the job."""
        found = look(spec, files)
        for warning in found.warnings:
            self.warn(warning)
        if found.failure is None:
            return
        fail = "fails" if found.rows == 1 else "fail for one reason"
        reason = f"the {found.named} {fail}: {describe(found.failure)}"
        if not self.may_all_fail:
            raise InvalidInput(
                f"Nothing was started, since {reason.removesuffix('.')}. "
                "With --on-invalid quarantine the job runs, and writes such rows to errors/.",
                [found.failure],
            )
        self.warn(reason)


def warn(warning: str, *, as_json: bool) -> None:
    """One line on stderr."""
    text = one_line(warning)
    click.echo(json.dumps({"warning": text}) if as_json else f"warning: {text}", err=True)
