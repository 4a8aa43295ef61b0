"""The failed rows of a job that has ended, as a new job: `resume --retry-failed`, `create --continue-from`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from batch.cli.flags import completion
from batch.cli.flags.job_options import adapters
from batch.cli.flags.running import engine_arguments
from batch.cli.flags.values import KEY_VALUE
from batch.errors import UsageError

if TYPE_CHECKING:
    from batch.jobs.store import JobStore
    from batch.submission.retry_failed import Changes

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class RetryFlags:
    """The flag, and the words after the job."""

    retry_failed: bool
    codes: tuple[str, ...]
    row_model: Literal["check", "ignore"] | None
    max_tokens: int | None
    engine_arg: tuple[tuple[str, str], ...]
    lora: tuple[tuple[str, str], ...]

    def changes(self) -> Changes:
        """The settings that the new job is to have instead of the old job's. UsageError for a name given twice."""
        from batch.submission.retry_failed import Changes

        return Changes(self.row_model, self.max_tokens, engine_arguments(self.engine_arg), adapters(self.lora))

    def check(self, **of_the_new_job: str | None) -> None:
        """UsageError when there is no --retry-failed, but something that is said of the new job."""
        settings = {name: getattr(self, name) for name in ("row_model", "max_tokens", "engine_arg", "lora")}
        of_the_new_job |= {name: "given" for name, value in settings.items() if value}
        given = [*self.codes, *(f"--{name.replace('_', '-')}" for name, value in of_the_new_job.items() if value)]
        if given and not self.retry_failed:
            raise UsageError(f"{given[0]} goes with --retry-failed; without it a job goes on as it is.")


_NEW = "With --retry-failed, the new job:"


def retry_options(function: Function) -> Function:
    """--retry-failed [CODE]..., and the settings of the new job that may differ from the old one's."""
    for option in (
        click.option("--lora", multiple=True, type=KEY_VALUE, metavar="NAME=PATH", help=f"{_NEW} one more adapter."),
        click.option("--max-tokens", type=int, metavar="N", help=f"{_NEW} so many tokens an answer."),
        click.option("--engine-arg", multiple=True, type=KEY_VALUE, metavar="KEY=VALUE", help=f"{_NEW} this, too."),
        click.option("--row-model", type=click.Choice(["check", "ignore"]), help=f"{_NEW} this, instead of the old."),
    ):
        function = option(function)
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


def prepare_retry(
    old: JobStore, flags: RetryFlags, output: str | None, *, replicas: str | None, ray_address: str | None
) -> JobStore:
    """The new job, checked and stored; the same words again give the same job. UsageError, SpecMismatch."""
    from batch.cli.check import first_look
    from batch.clock import SystemClock, rfc3339
    from batch.submission.prepare import UNNAMED, named, prepare
    from batch.submission.retry_failed import continue_spec
    from connectors.uri import parse_uri

    if output is None:
        raise UsageError("--retry-failed makes a new job: name its own folder or URI with --output.")
    own, now = str(parse_uri(output)), rfc3339(SystemClock().now())
    spec = continue_spec(old, flags.codes, job_id=UNNAMED, output=own, created_at=now, changes=flags.changes())
    look = first_look(may_all_fail=True, as_json=False)
    return prepare(named(spec), look, replicas=replicas, ray_address=ray_address)
