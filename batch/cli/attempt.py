"""One attempt of a job in the foreground: start the worker, show its progress, stop it when the user does.

The worker does the work; this side only reads the job's objects and may interrupt. Knows nothing of engines.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

import click

from batch.cli.output.outcome import Launch, Log, Outcome, close
from batch.cli.output.progress import Display, open_display, view
from batch.clock import SystemClock
from batch.errors import JobGone
from batch.exit_codes import ExitCode
from batch.machine.launcher import Launcher, interrupt, log_path
from batch.machine.resources import check_installed
from batch.phases import Phase
from batch.text import address
from connectors.errors import StoreError

if TYPE_CHECKING:
    from batch.jobs.store import JobStore

POLL_S = 0.5
# A look lists all commits: where that takes long, the display rests so many times as long.
POLL_REST = 5


def follow(job_store: JobStore, launch: Launch, *, as_json: bool) -> int:
    """Run one attempt to its end and give the exit code. A job that has ended only prints its summary."""
    spec = job_store.spec()
    if job_store.manifest() is not None:
        if not as_json:
            click.echo(f"{spec.job_id} has already ended; nothing was started.", err=True)
        return close(job_store, as_json=as_json)
    check_installed(spec, ray_address=launch.ray_address)
    numbers = job_store.epoch_numbers()
    log = Log.at(log_path(launch.output, job_id=spec.job_id, attempt=max(numbers, default=0) + 1))
    click.echo(_beginning(spec.job_id, job_store.uri, log, as_json=as_json), err=True)
    display = open_display(sys.stderr, as_json=as_json)
    with _termination_interrupts():
        worker = Launcher().start(
            launch.output, foreground=True, replicas=launch.replicas, ray_address=launch.ray_address, log=log.path
        )
        try:
            show_until_end(worker, job_store, display=display, attempts_before=len(numbers))
        except KeyboardInterrupt:
            display.close()
            if not as_json:
                click.echo(f"{spec.job_id}: stopping; what is done is kept.", err=True)
            interrupt(worker)
            exit_status: int = ExitCode.INTERRUPTED
        else:
            exit_status = worker.returncode
        finally:
            display.close()
    return Outcome(job_store, launch, log=log, as_json=as_json).tell(exit_status)


def _beginning(job_id: str, output: str, log: Log, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"phase": Phase.STARTING, "job_id": job_id, "output": output, "log": str(log.path)})
    return f"{job_id}: output {address(output)}, log {log.path}"


@contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let SIGTERM end the attempt as Ctrl-C does, so that a scheduler's stop is as clean."""

    def interrupt(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def show_until_end(
    worker: subprocess.Popen[bytes], job_store: JobStore, *, display: Display, attempts_before: int
) -> None:
    """Show how the job stands as often as the store lets this command look, until its worker has ended."""
    clock = SystemClock()
    while worker.poll() is None:
        began_s = clock.monotonic()
        try:
            record = job_store.record(clock.now())
        except (StoreError, JobGone):
            # The worker has its own retries, its own credentials, and decides: a display that misses one look loses
            # nothing, and a command that left would end its worker.
            time.sleep(POLL_S)
            continue
        current = view(record)
        if record.attempts == attempts_before:
            current = replace(current, phase="starting worker", message="")
        display.show(current, clock.monotonic())
        with suppress(subprocess.TimeoutExpired):
            worker.wait(max(POLL_S, POLL_REST * (clock.monotonic() - began_s)))
