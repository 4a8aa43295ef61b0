"""`clean`: what crashed jobs have left on this machine, shown or removed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from batch.cli.flags.common import global_options, output_option, settings
from batch.cli.flags.completion import jobs_and_folders
from batch.text import address, one_line, size, table

if TYPE_CHECKING:
    from batch.machine.leftovers import Leftover


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB|OUT]...", shell_complete=jobs_and_folders)
@click.option("--remove", is_flag=True, help="Remove it.")
@output_option("text", "json")
@global_options
@click.pass_context
def clean(ctx: click.Context, /, jobs: tuple[str, ...], remove: bool, mode: str) -> None:
    """Show what crashed jobs have left on this machine; with --remove, remove it.

    That is temporary folders of this user whose process is gone and, of the jobs named, half-written files in their
    outputs. What a living job uses is left alone, and so is whatever is not certainly ours.
    """
    from batch.cli.flags.target import find_job
    from batch.machine import leftovers

    found = list(leftovers.find([find_job(job, settings(ctx)).uri for job in jobs], os.environ))
    if remove:
        for leftover in found:
            leftover.remove()
    if mode == "json":
        click.echo(json.dumps([_fields(leftover) | {"removed": not leftover.path.exists()} for leftover in found]))
    elif not found:
        click.echo("No crashed job has left anything.")
    else:
        click.echo(table(["kind", "path", "size", "job", ""], [_row(leftover, remove=remove) for leftover in found]))
        if not remove:
            click.echo("`batchctl clean --remove` removes them.")


def _fields(leftover: Leftover) -> dict[str, object]:
    return asdict(leftover) | {"path": str(leftover.path)}


def _row(leftover: Leftover, *, remove: bool) -> tuple[str, ...]:
    path, job = one_line(str(leftover.path)), address(leftover.job) if leftover.job else ""
    state = "" if not remove else "could not be removed" if leftover.path.exists() else "removed"
    return leftover.kind, path, size(leftover.size_bytes), job, state
