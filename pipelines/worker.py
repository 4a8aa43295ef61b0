"""The process that owns one attempt at a job: `python -m pipelines.worker --job OUTPUT_URI`.

It claims the job, plans it, runs it on Ray, closes the ledger, and says by its exit code how it ended. Its standard
output is the job's log. With `--jobs-from -` it does so for one job after another. Knows nothing of how people are
shown a job.
"""

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from threading import Thread
from typing import NoReturn, TextIO
from uuid import uuid4

import orjson

from batch.clock import SystemClock
from batch.errors import BatchError, JobGone, JobHeld, ResourcesUnavailable, UsageError
from batch.exit_codes import ExitCode
from batch.jobs.lease import STORE_PATIENCE_S, Lease, claim, this_process
from batch.jobs.store import JobStore, Standing
from batch.machine.launcher import GPUS_VARIABLE, log_path
from batch.records.objects import Exit
from connectors.errors import InputError, StoreError
from connectors.stores.registry import torn_files
from connectors.stores.retry import be_patient, retries
from pipelines.attempt.heartbeat import Pulse
from pipelines.processes import job_log
from pipelines.run import run
from pipelines.site import Site
from pipelines.startup import Startup

logger = logging.getLogger("pipelines.worker")

INTERRUPT_AGAIN_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one attempt, or those that are asked for; return the exit code."""
    options = parse_options(arguments)
    site = Site(options.ray_address, keep_warm_s=options.keep_warm_s)
    try:
        if options.jobs_from:
            return serve_orders(sys.stdin.buffer, _own_output(), site)
        _prepare_process()
        if options.foreground:
            Thread(target=_leave_with_parent, name="parent", daemon=True).start()
        return attend(options.job, site, replicas=options.replicas, on_lost=_leave_lost)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except (BatchError, StoreError, InputError) as error:
        sys.stderr.write(f"{error}\n")
        return _exit_code(error)


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; argparse ends the process at a bad one."""
    parser = argparse.ArgumentParser(prog="pipelines.worker", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--job", metavar="URI", help="the job's output")
    what.add_argument("--jobs-from", choices=["-"], help='jobs from standard input, each a line {"job": URI}')
    parser.add_argument("--replicas", metavar="N|MIN:MAX", help="engines to run")
    parser.add_argument("--ray-address", metavar="A", help="an existing Ray cluster")
    parser.add_argument("--foreground", action="store_true", help="end when standard input closes")
    parser.add_argument(
        "--keep-warm-s", type=float, default=0.0, metavar="S", help="how long an engine waits for the next job"
    )
    return parser.parse_args(arguments)


def serve_orders(orders: Iterable[bytes], answers: TextIO, site: Site) -> int:
    """Run the jobs that are asked for, one after the other; answer each with a line when it has ended.

    An order is a line `{"job": URI}`, and maybe `"replicas"` as the command line has them; its answer is
    `{"job": URI, "exit_code": N, "message": TEXT}`, the exit code as the command's. Each job's log is
    where `batchctl logs` looks for it.
    """
    for line in orders:
        _prepare_process()
        answer = serve_order(line, site)
        site.job_is_over()
        answers.write(f"{orjson.dumps(answer).decode()}\n")
        answers.flush()
    site.close()
    return ExitCode.COMPLETED


def serve_order(line: bytes, site: Site) -> dict[str, object]:
    """Run one job that was asked for; return the answer."""
    uri: object = None
    try:
        uri, replicas = parse_order(line)
        code = attend(uri, site, replicas=replicas, on_lost=_drop_lost, moves_log=True)
    except (BatchError, StoreError, InputError) as error:
        return {"job": uri, "exit_code": _exit_code(error), "message": str(error)}
    except Exception as error:  # noqa: BLE001 - the job's end, told in its log; the next one has nothing to do with it
        return {"job": uri, "exit_code": int(ExitCode.FAILED), "message": f"{type(error).__name__}: {error}"}
    return {"job": uri, "exit_code": int(code), "message": ""}


def parse_order(line: bytes) -> tuple[str, str | None]:
    """Return the output and the replicas that a line names. Raises UsageError."""
    try:
        order = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"an order is a line of JSON: {error}") from None
    if not isinstance(order, dict) or not isinstance(order.get("job"), str) or order.keys() - {"job", "replicas"}:
        raise UsageError('an order is {"job": URI}, and maybe "replicas": "N" or "MIN:MAX"')
    replicas = order.get("replicas")
    return order["job"], None if replicas is None else str(replicas)


def attend(
    uri: str, site: Site, *, replicas: str | None = None, on_lost: Callable[[Lease], None], moves_log: bool = False
) -> int:
    """Run one attempt at a job to its end. Raises BatchError, StoreError, InputError, or KeyboardInterrupt.

    `on_lost` is called, from another thread, when another attempt has the job. `moves_log`: standard output is not the
    job's log yet, and becomes it.
    """
    retries_before = retries()
    job = JobStore.open(uri)
    spec = job.spec()  # before anything is written: an output that was deleted stays so
    job.probe(uuid4().hex)
    standing = job.manifest()
    if standing is not None:
        job.collect_garbage(standing)  # a crash may have come between the manifest and this
        return standing.exit_code
    clock = SystemClock()
    wishes = {"replicas": replicas, "ray_address": site.ray_address, "gpus": os.environ.get(GPUS_VARIABLE)}
    lease = claim(job, this_process(), clock=clock, options=wishes)
    for torn in torn_files(job.uri):
        torn.unlink(missing_ok=True)
    log = None
    if moves_log:
        log = str(log_path(job.uri, job_id=spec.job_id, attempt=lease.epoch.number))
        job_log.move_to(log)
    site.on_death = partial(_leave_dead, lease)
    try:
        startup = Startup(job, lease.epoch, site, replicas=replicas, log=log)
        on_lost_lease = partial(on_lost, lease)
        with Pulse(job, lease, clock=clock, on_lost=on_lost_lease, retries_before=retries_before) as pulse:
            manifest = run(job, lease.epoch, pulse, startup)
        lease.end(Exit.FINISHED, manifest.state)
    except BaseException as error:
        _hear_nothing()
        if lease.lost:
            raise JobHeld(f"Attempt {lease.epoch.number} has lost the job: {lease.standing.value}.") from None
        _record_end(lease, error)
        ended = job.manifest() if isinstance(error, KeyboardInterrupt) else None
        if ended is None:
            raise
        manifest = ended  # the interruption came when all was done but the tidying
    return manifest.exit_code


def _exit_code(error: BatchError | StoreError | InputError) -> int:
    return int(getattr(error, "exit_code", ExitCode.FAILED))


def _prepare_process() -> None:
    """Log to standard output, be patient with stores, and hear signals; anew for each job."""
    job_log.begin()
    be_patient(STORE_PATIENCE_S)
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, _interrupt)


def _hear_nothing() -> None:
    """No signal breaks off the last words: a terminal's Ctrl-C arrives twice, from it and from the command."""
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)


def _own_output() -> TextIO:
    """Return what was the standard output, which becomes that of the jobs' logs: until there is one, standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _record_end(lease: Lease, error: BaseException) -> None:
    """Leave the attempt's last words, so that the next one need not wait for silence."""
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


def _drop_lost(lease: Lease) -> None:
    """Interrupt the job, whose lease tells why; the engine goes on with the next one."""
    logger.error("attempt %d has lost the job: %s", lease.epoch.number, lease.standing.value)
    os.kill(os.getpid(), signal.SIGINT)


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
