"""`results`: a job's lines on stdout, for pipes and single files."""

from __future__ import annotations

import os
import sys

import click

from batch.cli.flags.common import global_options, settings
from batch.cli.flags.completion import jobs_and_folders


@click.command()
@click.argument("job", metavar="JOB|OUT", shell_complete=jobs_and_folders)
@click.option("--errors", is_flag=True, help="The rows that did not succeed, instead of those that did.")
@global_options
@click.pass_context
def results(ctx: click.Context, job: str, errors: bool) -> None:
    """Stream the result lines of JOB, a job id or the output of `batchctl run`, in input order.

    Of a running job these are the lines of the shards that are done.
    """
    from batch.cli.flags.target import find_job

    job_store = find_job(job, settings(ctx))
    try:
        for line in job_store.lines("errors" if errors else "results"):
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has seen enough, as `head` has; without this the interpreter complains again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
