"""The process that owns one attempt at a job: `python -m pipelines.worker --job OUTPUT_URI`.

It claims the job, plans it, runs it on Ray, closes the ledger, and says by its exit code how it ended. Its standard
output is the job's log. Knows nothing of how people are shown a job.
"""

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from threading import Thread
from typing import NoReturn
from uuid import uuid4

from batch.clock import SystemClock
from batch.errors import BatchError, JobGone, ResourcesUnavailable
from batch.exit_codes import ExitCode
from batch.jobs.lease import STORE_PATIENCE_S, Lease, claim, this_process
from batch.jobs.store import JobStore, Standing
from batch.records.objects import Exit
from connectors.errors import InputError, StoreError
from connectors.stores.registry import torn_files
from connectors.stores.retry import be_patient
from pipelines.attempt.heartbeat import Pulse
from pipelines.processes import job_log
from pipelines.run import run
from pipelines.startup import Startup

logger = logging.getLogger("pipelines.worker")

INTERRUPT_AGAIN_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one attempt; return the exit code."""
    options = parse_options(arguments)
    job_log.begin()
    be_patient(STORE_PATIENCE_S)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _interrupt)
    if options.foreground:
        Thread(target=_leave_with_parent, name="parent", daemon=True).start()
    try:
        return attend(options)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except (BatchError, StoreError, InputError) as error:
        sys.stderr.write(f"{error}\n")
        return getattr(error, "exit_code", ExitCode.FAILED)


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; argparse ends the process at a bad one."""
    parser = argparse.ArgumentParser(prog="pipelines.worker", description=__doc__)
    parser.add_argument("--job", required=True, metavar="URI", help="the job's output")
    parser.add_argument("--replicas", metavar="N|MIN:MAX", help="engines to run")
    parser.add_argument("--ray-address", metavar="A", help="an existing Ray cluster")
    parser.add_argument("--foreground", action="store_true", help="end when standard input closes")
    return parser.parse_args(arguments)


def attend(options: argparse.Namespace) -> int:
    """Run one attempt to its end. Raises BatchError, StoreError, or KeyboardInterrupt."""
    job = JobStore.open(options.job)
    job.spec()  # before anything is written: an output that was deleted stays so
    job.probe(uuid4().hex)
    standing = job.manifest()
    if standing is not None:
        job.collect_garbage(standing)  # a crash may have come between the manifest and this
        return standing.exit_code
    clock = SystemClock()
    wishes = {"replicas": options.replicas, "ray_address": options.ray_address}
    lease = claim(job, this_process(), clock=clock, options=wishes)
    for torn in torn_files(job.uri):
        torn.unlink(missing_ok=True)
    try:
        startup = Startup(job, lease.epoch, **wishes, on_death=partial(_leave_dead, lease))
        with Pulse(job, lease, clock=clock, on_lost=lambda: _leave_lost(lease)) as pulse:
            manifest = run(job, lease.epoch, pulse, startup)
        lease.end(Exit.FINISHED, manifest.state)
    except BaseException as error:
        _record_end(lease, error)
        ended = job.manifest() if isinstance(error, KeyboardInterrupt) else None
        if ended is None:
            raise
        manifest = ended  # the interruption came when all was done but the tidying
    return manifest.exit_code


def _record_end(lease: Lease, error: BaseException) -> None:
    """Leave the attempt's last words, so that the next one need not wait for silence."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)  # a terminal's Ctrl-C arrives twice: from it and from the command
    resumable = not isinstance(error, InputError) and getattr(error, "resumable", True)
    if isinstance(error, KeyboardInterrupt):
        how, message = Exit.INTERRUPTED, "Interrupted; the same command resumes."
    else:
        how, message = Exit.FAILED, str(error) or type(error).__name__
        if not isinstance(error, BatchError | StoreError | InputError):
            traceback.print_exception(error)
    try:
        lease.end(how, message, resumable=resumable)
    except (StoreError, JobGone) as unwritten:
        logger.warning("the attempt's end could not be written: %s", unwritten)


def _interrupt(number: int, frame: object) -> NoReturn:  # noqa: ARG001 - as signal handlers are called
    """Raise KeyboardInterrupt, and again every second until it is heard: the start of Ray swallows it."""
    signal.setitimer(signal.ITIMER_REAL, INTERRUPT_AGAIN_S)
    raise KeyboardInterrupt


def _leave_with_parent() -> None:
    """Interrupt this process when the command that started it is gone: its end of our standard input closes."""
    while os.read(sys.stdin.fileno(), 1):  # not sys.stdin: its lock would be held here when the process ends
        pass
    os.kill(os.getpid(), signal.SIGINT)


def _leave_lost(lease: Lease) -> None:
    """Nothing that this attempt still does can be reached by a reader; free the engine."""
    logger.error("attempt %d has to leave: %s", lease.epoch.number, lease.standing.value)
    logging.shutdown()
    os._exit(ExitCode.HELD if lease.standing is Standing.SUPERSEDED else JobGone.exit_code)


def _leave_dead(lease: Lease, sentence: str) -> None:
    """Ray has died, and the engines with it. Nothing waits for this process any more; say so and go."""
    logger.error("%s", sentence)
    try:
        lease.end(Exit.FAILED, sentence)
    except (StoreError, JobGone) as unwritten:
        logger.warning("the attempt's end could not be written: %s", unwritten)
    logging.shutdown()
    os._exit(ResourcesUnavailable.exit_code)


if __name__ == "__main__":
    sys.exit(main())
