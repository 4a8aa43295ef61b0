"""`watch` and `logs`: looking at a job that runs somewhere else."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from batch.cli.completion import jobs_and_folders
from batch.cli.options import global_options, output_option, settings

if TYPE_CHECKING:
    from batch.job_store import JobStore
    from batch.state import JobRecord

POLL_S = 1.0
# As long as a lease lives: after that nobody works on the job.
IDLE_LIMIT_S = 30.0


@click.command()
@click.argument("job", metavar="JOB|OUT", shell_complete=jobs_and_folders)
@output_option("text", "json")
@global_options
@click.pass_context
def watch(ctx: click.Context, job: str, mode: str) -> int:
    """Follow JOB, a job id or an output, until it ends; then print its summary and exit as `run` would."""
    from batch.cli.target import find_job

    return follow_to_end(find_job(job, settings(ctx)), as_json=mode == "json")


def follow_to_end(job_store: JobStore, *, as_json: bool, timeout_s: float | None = None) -> int:
    """Show progress until the job ends, and give the exit code of its state. Starts nothing.

    Raises JobFailed when its attempt failed, when nobody works on it, or after `timeout_s`.
    """
    from batch.cli.ending import summary

    manifest = _wait(job_store, as_json=as_json, timeout_s=timeout_s).manifest
    if manifest is None:
        raise ValueError(f"{job_store.uri}: the wait ended without a manifest")
    click.echo(summary(job_store, manifest, as_json=as_json))
    return manifest.exit_code


def _wait(job_store: JobStore, *, as_json: bool, timeout_s: float | None) -> JobRecord:
    from batch.clock import SystemClock
    from batch.display import open_display, view
    from batch.errors import JobFailed

    clock = SystemClock()
    started_s = busy_s = clock.monotonic()
    display = open_display(sys.stderr, as_json=as_json)
    try:
        while (record := job_store.record(clock.now())).manifest is None:
            now_s = clock.monotonic()
            display.show(view(record), now_s)
            busy_s = now_s if record.holder is not None and not record.stale else busy_s
            if record.state.is_final:
                raise JobFailed(f"{record.job_id} failed: {record.message.rstrip('.')}; `batchctl resume` tries again.")
            if now_s - busy_s > IDLE_LIMIT_S:
                job_store.check_in_place()
                raise JobFailed(f"Nobody works on {record.job_id}; `batchctl resume {job_store.uri}` goes on with it.")
            if timeout_s is not None and now_s - started_s > timeout_s:
                raise JobFailed(f"{record.job_id} is still {record.state.value} after {timeout_s:g} s; it goes on.")
            time.sleep(POLL_S)
    finally:
        display.close()
    return record


@click.command()
@click.argument("job", metavar="JOB|OUT", shell_complete=jobs_and_folders)
@global_options
@click.pass_context
def logs(ctx: click.Context, job: str) -> None:
    """Print the log of the latest attempt of JOB, a job id or an output."""
    from batch.cli.target import find_job, latest_log
    from batch.display import escape

    for line in latest_log(find_job(job, settings(ctx))):
        click.echo(escape(line.decode(errors="replace").rstrip("\r\n")))
