"""`validate`: every bad line at once, repeated ids, counts and a rough number of tokens, without an engine."""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from batch.cli.flags.common import global_options, output_option
from batch.cli.flags.completion import files
from batch.cli.flags.job_options import line_options, take_options
from batch.cli.flags.parameters import parameter_options, take_parameters
from batch.cli.output.progress import Display, View, open_display
from batch.phases import Phase

if TYPE_CHECKING:
    from batch.planning.validation import Validation
    from batch.result import RowFailure
    from batch.spec.job_options import SpecOptions
    from batch.spec.job_spec import JobSpec
    from batch.spec.parameters import InferenceParameters

NO_MODEL = "any"
CHARACTERS_PER_TOKEN = 4


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", shell_complete=files)
@click.option("-m", "--model", help="The model of the job; without it rows may name any model.")
@line_options
@parameter_options
@output_option("text", "json")
@global_options
def validate(inputs: tuple[str, ...], model: str | None, mode: str, **given: Any) -> int:
    """Check every line of the input, and say all that is wrong with it, without starting an engine.

    Bad lines are printed as file:line: code: message, or as one JSON object each; the totals come last. Exits with 2
    when there is a bad line.
    """
    from batch.cli.check import warn
    from batch.planning.first_rows import look
    from batch.planning.plan import make_plan
    from batch.planning.validation import validate as check_lines
    from batch.submission.first_look import describe

    spec = _spec(inputs, model, take_options(given), parameters=take_parameters(given))
    render = _failure_json if mode == "json" else describe
    display = open_display(sys.stderr, as_json=mode == "json")
    try:
        plan = make_plan(spec, partial(_show_read, display), tell=partial(warn, as_json=mode == "json"))
        found = check_lines(
            spec,
            plan,
            on_failure=lambda failure: click.echo(render(failure)),
            on_progress=lambda rows, bad: display.show(View("checking", rows, bad, plan.rows), time.monotonic()),
        )
    finally:
        display.close()
    for warning in look(spec, [planned.file for planned in plan.inputs]).warnings:
        warn(warning, as_json=mode == "json")
    click.echo(_totals_json(found) if mode == "json" else _totals(found, len(plan.inputs)))
    return 2 if found.failed else 0


def _show_read(display: Display, lines: int) -> None:
    from batch.planning.plan import PROGRESS_LINES

    if lines >= PROGRESS_LINES:  # a small file is done before anybody has read this
        display.show(View(Phase.SCANNING, message=f"{lines:,} lines read"), time.monotonic())


def _spec(
    inputs: tuple[str, ...], model: str | None, options: SpecOptions, *, parameters: InferenceParameters
) -> JobSpec:
    from batch.spec.job_options import spec_fields
    from batch.spec.job_spec import JobSpec
    from connectors.uri import parse_pattern

    return JobSpec(
        job_id="validate",
        inputs=tuple(str(parse_pattern(pattern)) for pattern in inputs),
        output="memory://validate",
        model=model or NO_MODEL,
        created_at="",
        parameters=parameters,
        **spec_fields(options if model else options | {"row_model": "ignore"}),
    )


def _failure_json(failure: RowFailure) -> str:
    place = failure.place
    found = {"file": place.file, "line": place.line, "offset": place.offset, "custom_id": failure.custom_id}
    return json.dumps(found | {"code": failure.code.value, "field": failure.field, "message": failure.message})


def _totals_json(found: Validation) -> str:
    totals = {
        "lines": found.lines,
        "blank": found.blank,
        "valid": found.rows - found.failed,
        "failed": found.failed,
        "failed_by_code": found.failed_by_code,
        "prompt_tokens_estimate": found.prompt_characters // CHARACTERS_PER_TOKEN,
    }
    return json.dumps(totals)


def _totals(found: Validation, files: int) -> str:
    by_code = ", ".join(f"{code} {rows:,}" for code, rows in found.failed_by_code.items())
    repeated = found.failed_by_code.get("duplicate_custom_id", 0)
    return (
        f"{found.lines:,} lines in {files:,} file{'s' if files != 1 else ''}: {found.rows - found.failed:,} valid, "
        f"{found.failed:,} bad{f' ({by_code})' if by_code else ''}, {found.blank:,} blank; "
        f"{repeated:,} repeat an earlier custom_id.\n"
        f"About {found.prompt_characters // CHARACTERS_PER_TOKEN:,} prompt tokens "
        f"(an estimate: characters / {CHARACTERS_PER_TOKEN})."
    )
