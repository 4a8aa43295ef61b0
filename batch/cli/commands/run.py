"""`run`: from flags to a checked job spec, and from there to one attempt followed to its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from batch.cli.flags.common import global_options, output_option
from batch.cli.flags.completion import files, folders
from batch.cli.flags.reading import (
    LineFlags,
    adapters,
    line_options,
    parameter_options,
    read_messages_template,
    take,
    take_parameters,
)
from batch.cli.flags.running import attempt_options, engine_options, limit_options, once_each

if TYPE_CHECKING:
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
    on_invalid: Literal["quarantine", "fail"]
    max_failed_rows: str | None
    deadline: float | None
    row_timeout: float | None
    journal_every: float
    deduplicate: bool
    order_by_prefix: bool
    output_format: Literal["jsonl", "parquet"]


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

    line_flags, parameters = take(LineFlags, given), take_parameters(given)
    now = SystemClock().now()
    spec = job_spec(inputs, JobFlags(**given), lines=line_flags, parameters=parameters, now=now)
    first_look = look_asked_for(ctx, as_json=mode == "json")
    job_store = prepare(spec, first_look, replicas=replicas, ray_address=ray_address)
    return follow(job_store, Launch(spec.output, replicas=replicas, ray_address=ray_address), as_json=mode == "json")


def job_spec(
    inputs: tuple[str, ...], flags: JobFlags, *, lines: LineFlags, parameters: InferenceParameters, now: datetime
) -> JobSpec:
    """The spec that the flags ask for, every value checked alone. UsageError, BadUri. Reads the template file only."""
    from batch.clock import rfc3339
    from batch.spec.engine_arguments import check_engine_args
    from batch.spec.job_spec import JobSpec
    from batch.submission.prepare import UNNAMED, named
    from connectors.uri import parse_pattern, parse_uri

    spec = JobSpec(
        job_id=flags.job_id or UNNAMED,
        inputs=tuple(str(parse_pattern(pattern)) for pattern in inputs),
        output=str(parse_uri(flags.output)),
        model=flags.model,
        created_at=rfc3339(now),
        served_model_names=lines.served_model_name,
        lora=adapters(lines.lora),
        engine=flags.engine,
        engine_args=check_engine_args(flags.engine, once_each(flags.engine_arg)),
        parameters=parameters,
        prompt_template=lines.prompt_template,
        messages_template=read_messages_template(lines.messages_template),
        id_field=lines.id_field,
        carry=lines.carry,
        row_model=lines.row_model,
        on_invalid=flags.on_invalid,
        max_failed_rows=flags.max_failed_rows,
        deadline_s=flags.deadline,
        row_timeout_s=flags.row_timeout,
        journal_every_s=flags.journal_every,
        deduplicate=flags.deduplicate,
        order_by_prefix=flags.order_by_prefix,
        output_format=flags.output_format,
    )
    return spec if flags.job_id else named(spec)
