"""`run`: from flags to a checked job spec, and from there to one attempt followed to its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from batch.cli.flags.common import global_options, output_option
from batch.cli.flags.completion import files, folders
from batch.cli.flags.job_options import limit_options, line_options, take_options
from batch.cli.flags.parameters import parameter_options, take_parameters
from batch.cli.flags.running import attempt_options, engine_arguments, engine_options

if TYPE_CHECKING:
    from batch.spec.job_options import SpecOptions
    from batch.spec.job_spec import JobSpec
    from batch.spec.parameters import InferenceParameters


@dataclass(frozen=True, slots=True)
class JobFlags:
    """What a job is beyond its lines and parameters; every field is the flag of its name."""

    model: str
    output: str
    engine: str
    engine_arg: tuple[tuple[str, str], ...]
    job_id: str | None


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", shell_complete=files)
@click.option(
    "-m", "--model", required=True, help="A hub id, a local folder or an object-store URI.", shell_complete=folders
)
@click.option(
    "--output",
    required=True,
    metavar="OUT",
    help="The folder or URI of results and of the job's state.",
    shell_complete=folders,
)
@engine_options
@attempt_options
@parameter_options
@click.option("--job-id", metavar="ID", help="Default: made from the settings, so that the same command resumes.")
@line_options
@limit_options
@output_option("text", "json")
@global_options
@click.pass_context
def run(
    ctx: click.Context,
    /,
    inputs: tuple[str, ...],
    replicas: str | None,
    ray_address: str | None,
    mode: str,
    **given: Any,
) -> int:
    """Run files of requests through a model.

    INPUT is a file, a glob, a folder or a URI of .jsonl, .jsonl.gz, .jsonl.zst, .parquet or .csv files. An interrupted
    job goes on when the same command is given again; a finished one prints its summary again.
    """
    from batch.cli.attempt import follow
    from batch.cli.check import look_asked_for
    from batch.cli.output.outcome import Launch
    from batch.clock import SystemClock
    from batch.submission.prepare import prepare

    options, parameters = take_options(given), take_parameters(given)
    now = SystemClock().now()
    spec = job_spec(inputs, JobFlags(**given), options=options, parameters=parameters, now=now)
    first_look = look_asked_for(ctx, as_json=mode == "json")
    job_store = prepare(spec, first_look, replicas=replicas, ray_address=ray_address)
    return follow(job_store, Launch(spec.output, replicas=replicas, ray_address=ray_address), as_json=mode == "json")


def job_spec(
    inputs: tuple[str, ...], flags: JobFlags, *, options: SpecOptions, parameters: InferenceParameters, now: datetime
) -> JobSpec:
    """The spec that the flags ask for, every value checked alone. UsageError, BadUri."""
    from batch.clock import rfc3339
    from batch.spec.engine_arguments import check_engine_args
    from batch.spec.job_options import spec_fields
    from batch.spec.job_spec import JobSpec
    from batch.submission.prepare import UNNAMED, named
    from connectors.uri import parse_pattern, parse_uri

    spec = JobSpec(
        job_id=flags.job_id or UNNAMED,
        inputs=tuple(str(parse_pattern(pattern)) for pattern in inputs),
        output=str(parse_uri(flags.output)),
        model=flags.model,
        created_at=rfc3339(now),
        engine=flags.engine,
        engine_args=check_engine_args(flags.engine, engine_arguments(flags.engine_arg)),
        parameters=parameters,
        **spec_fields(options),
    )
    return spec if flags.job_id else named(spec)
