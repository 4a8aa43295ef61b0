"""`watch` and `logs`: looking at a job that runs somewhere else, as long as somebody works on it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from batch.cli.flags.common import global_options, output_option, settings
from batch.cli.flags.completion import jobs_and_folders
from batch.text import address, escape

if TYPE_CHECKING:
    from batch.jobs.store import JobStore
    from batch.records.state import JobRecord

POLL_S = 1.0
# A worker that somebody has just started claims its job within a second or two; one that this command started may
# have to wait for the end of another one's lease.
GRACE_S, START_WITHIN_S = 3.0, 30.0


@click.command()
@click.argument("job", metavar="JOB|OUT", shell_complete=jobs_and_folders)
@output_option("text", "json")
@global_options
@click.pass_context
def watch(ctx: click.Context, job: str, mode: str) -> int:
    """Follow JOB, a job id or an output, until it ends; then print its summary and exit as `run` would.

    When nobody works on the job, say why, and exit with 1.
    """
    from batch.cli.flags.target import find_job

    return follow_to_end(find_job(job, settings(ctx)), as_json=mode == "json", idle_limit_s=GRACE_S)


def follow_to_end(
    job_store: JobStore, *, as_json: bool, timeout_s: float | None = None, idle_limit_s: float = START_WITHIN_S
) -> int:
    """Show progress until the job ends, and give the exit code of its state. Starts nothing.

    Raises JobFailed when for `idle_limit_s` nobody works on it, or after `timeout_s`.
    """
    from batch.cli.output.ending import summary

    manifest = _wait(job_store, as_json=as_json, timeout_s=timeout_s, idle_limit_s=idle_limit_s).manifest
    if manifest is None:
        raise ValueError(f"{job_store.uri}: the wait ended without a manifest")
    click.echo(summary(job_store, manifest, as_json=as_json))
    return manifest.exit_code


def _wait(job_store: JobStore, *, as_json: bool, timeout_s: float | None, idle_limit_s: float) -> JobRecord:
    from batch.cli.output.progress import open_display, view
    from batch.clock import SystemClock
    from batch.errors import JobFailed
    from batch.jobs.lease import this_process, why_idle

    clock, here = SystemClock(), this_process()
    started_s = busy_s = clock.monotonic()
    display = open_display(sys.stderr, as_json=as_json)
    try:
        while (record := job_store.record(clock.now())).manifest is None:
            now_s = clock.monotonic()
            display.show(view(record), now_s)
            idle = why_idle(record, here)
            busy_s = now_s if idle is None else busy_s
            if idle is not None and now_s - busy_s >= idle_limit_s:
                job_store.check_in_place()
                raise JobFailed(f"{record.job_id}: {idle}; `batchctl resume {address(job_store.uri)}` goes on with it.")
            if timeout_s is not None and now_s - started_s > timeout_s:
                raise JobFailed(f"{record.job_id} is still {record.state.value} after {timeout_s:g} s; it goes on.")
            time.sleep(POLL_S)
    finally:
        display.close()
    return record


@click.command()
@click.argument("job", metavar="JOB|OUT", shell_complete=jobs_and_folders)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written until the attempt ends.")
@global_options
@click.pass_context
def logs(ctx: click.Context, job: str, follow: bool) -> None:
    """Print the log of the latest attempt of JOB, a job id or an output."""
    from batch.cli.flags.target import find_job, read_log

    job_store = find_job(job, settings(ctx))
    attempt = max(job_store.epoch_numbers(), default=1)
    content = read_log(job_store, attempt)
    _print_lines(content)
    position = len(content)
    while follow:
        ended = _has_ended(job_store, attempt)  # before the log is read: what was written last is then seen
        content = read_log(job_store, attempt, position)
        whole = content if ended else content[: content.rfind(b"\n") + 1]
        _print_lines(whole)
        position += len(whole)
        if ended:
            return
        time.sleep(POLL_S)


def _print_lines(content: bytes) -> None:
    for line in content.split(b"\n")[: None if content.rpartition(b"\n")[2] else -1]:
        click.echo(escape(line.decode(errors="replace").rstrip("\r")))


def _has_ended(job_store: JobStore, attempt: int) -> bool:
    from batch.clock import SystemClock
    from batch.jobs.lease import this_process, why_idle

    record = job_store.record(SystemClock().now())
    is_over = record.manifest is not None or record.attempts > attempt
    return is_over or why_idle(record, this_process()) is not None
