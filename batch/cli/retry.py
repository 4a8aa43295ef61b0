"""`resume --retry-failed`: the failed rows of a job that has ended, as a new job with an output of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

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
    codes = click.argument("codes", nargs=-1, metavar="[CODE]...")
    flag = click.option(
        "--retry-failed",
        is_flag=True,
        help="Of a job that has ended, run the rows that failed, with a CODE or with any, as a new job.",
    )
    return codes(flag(function))


def prepare_retry(old: JobStore, codes: tuple[str, ...], output: str | None) -> JobStore:
    """The new job, checked and stored; the same words again give the same job. UsageError, SpecMismatch."""
    from batch.cli.preflight import prepare
    from batch.cli.run import UNNAMED, default_job_id
    from batch.clock import SystemClock, rfc3339
    from batch.continuation import continue_spec
    from connectors.uri import parse_uri

    if output is None:
        raise UsageError("--retry-failed makes a new job: name its own folder or URI with --output.")
    own, now = str(parse_uri(output)), rfc3339(SystemClock().now())
    spec = continue_spec(old, codes, job_id=UNNAMED, output=own, created_at=now)
    return prepare(replace(spec, job_id=default_job_id(spec)))
