"""The failed rows of a job that has ended, as a new job: `resume --retry-failed`, `create --continue-from`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batch.cli import completion
from batch.errors import UsageError

if TYPE_CHECKING:
    from batch.job_store import JobStore

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class RetryFlags:
    """The flag, and the words after the job."""

    retry_failed: bool
    codes: tuple[str, ...]

    def check(self, **of_the_new_job: str | None) -> None:
        """UsageError when there is no --retry-failed, but something that is said of the new job."""
        given = [*self.codes, *(f"--{name.replace('_', '-')}" for name, value in of_the_new_job.items() if value)]
        if given and not self.retry_failed:
            raise UsageError(f"{given[0]} goes with --retry-failed; without it a job goes on as it is.")


def retry_options(function: Function) -> Function:
    """--retry-failed [CODE]..."""
    codes = click.argument("codes", nargs=-1, metavar="[CODE]...", shell_complete=completion.codes)
    flag = click.option(
        "--retry-failed",
        is_flag=True,
        help="Of a job that has ended, run the rows that failed, with a CODE or with any, as a new job.",
    )
    return codes(flag(function))


continue_option = click.option(
    "--continue-from",
    metavar="JOB_ID",
    shell_complete=completion.jobs,
    help="Run the rows of this ended job that failed, with its settings, and no others; see `resume --retry-failed`.",
)

_OF_ANY_JOB = frozenset(
    {"job_id", "output_dataset_id", "display_name", "continue_from", "replicas", "ray_address"}
    | {"wait", "wait_timeout", "quiet", "mode"}
)


def refuse_settings(ctx: click.Context, *, model: str, input_dataset_id: str) -> None:
    """UsageError for a flag that is a setting of the continued job; its own model and input may be named again."""
    given = ctx.params
    same = {
        name for name, of_old in (("model", model), ("input_dataset_id", input_dataset_id)) if given[name] == of_old
    }
    for option in ctx.command.params:
        name = option.name or ""
        is_given = ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if is_given and option.expose_value and name not in _OF_ANY_JOB | same:
            raise UsageError(f"{option.opts[-1]} does not go with --continue-from: that job's settings are kept.")


def prepare_retry(old: JobStore, codes: tuple[str, ...], output: str | None) -> JobStore:
    """The new job, checked and stored; the same words again give the same job. UsageError, SpecMismatch."""
    from batch.cli.check import FirstLook
    from batch.cli.preflight import prepare
    from batch.cli.run import UNNAMED, default_job_id
    from batch.clock import SystemClock, rfc3339
    from batch.continuation import continue_spec
    from connectors.uri import parse_uri

    if output is None:
        raise UsageError("--retry-failed makes a new job: name its own folder or URI with --output.")
    own, now = str(parse_uri(output)), rfc3339(SystemClock().now())
    spec = continue_spec(old, codes, job_id=UNNAMED, output=own, created_at=now)
    return prepare(replace(spec, job_id=default_job_id(spec)), FirstLook(may_all_fail=True, as_json=False))
