"""The process that owns one attempt at a job: `python -m pipelines.worker --job OUTPUT_URI`.

It claims the job, plans it, runs it on Ray, closes the ledger, and says by its exit code how it ended. Its standard
output is the job's log. Knows nothing of how people are shown a job.
"""

import argparse
import atexit
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, NoReturn
from uuid import uuid4

import orjson

from batch import resources
from batch.clock import SystemClock
from batch.continuation import continue_plan
from batch.errors import BatchError, InvalidInput, JobGone, ResourcesUnavailable
from batch.job_store import JobStore, Standing
from batch.lease import STORE_PATIENCE_S, Lease, claim, this_process
from batch.manifest import EngineIdentity, Manifest
from batch.plan import Plan, make_plan
from batch.records import Exit, Tally
from batch.reordering import bring_together
from batch.validation import find_failures
from connectors.errors import InputError, StoreError
from connectors.registry import torn_files
from connectors.retry import be_patient
from pipelines import fork_server, job_log, own_cluster, unanswered
from pipelines.attempt import JobStopped, Pulse
from pipelines.finalize import finalize
from pipelines.guardian import Guardian

if TYPE_CHECKING:
    from pipelines.engine_host import Receipt

logger = logging.getLogger("pipelines.worker")

INTERRUPTED = 130
LEASE_LOST = 5
INTERRUPT_AGAIN_S = 1.0
HOSTS_END_WITHIN_S = 5.0
SHOWN_FAILURES = 20


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
        return INTERRUPTED
    except (BatchError, StoreError, InputError) as error:
        sys.stderr.write(f"{error}\n")
        return getattr(error, "exit_code", 1)


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
        with Pulse(job, lease, clock=clock, on_lost=lambda: _leave_lost(lease)) as pulse:
            manifest = run(job, lease, pulse, options)
        lease.end(Exit.FINISHED, manifest.state)
    except BaseException as error:
        _record_end(lease, error)
        ended = job.manifest() if isinstance(error, KeyboardInterrupt) else None
        if ended is None:
            raise
        manifest = ended  # the interruption came when all was done but the tidying
    return manifest.exit_code


def run(job: JobStore, lease: Lease, pulse: Pulse, options: argparse.Namespace) -> Manifest:
    """Answer the rows of the shards that have no commit, or end them if the job is to end; close the ledger."""
    epoch = lease.epoch.number
    engine = EngineIdentity(job.spec().engine, "", {})
    try:
        for receipt in answer_rows(job, pulse, options, lease=lease):
            tally = Tally(receipt.succeeded, receipt.failed, receipt.prompt_tokens, receipt.completion_tokens)
            pulse.settled(receipt.shard, tally)
            engine = EngineIdentity(receipt.engine, receipt.engine_version, orjson.loads(receipt.engine_config))
    except JobStopped as stopped:
        logger.info("the job ends before an engine is there: %s", stopped)
        plan = unanswered.standing_plan(job)
        pulse.planned(plan)
        for commit in unanswered.end_rows(job, plan, stopped.stop, epoch=epoch):
            pulse.settled(commit.shard, commit.tally)
    pulse.writing()
    return finalize(job, unanswered.standing_plan(job), epoch=epoch, engine=engine, clock=SystemClock())


def answer_rows(job: JobStore, pulse: Pulse, options: argparse.Namespace, *, lease: Lease) -> "Iterator[Receipt]":
    """Plan, and run the shards that have no commit. Raises JobStopped as long as no engine hears of a stop itself."""
    pulse.heed()
    from pipelines import hosting

    spec, claim, is_local = job.spec(), lease.epoch, options.ray_address is None
    machine = resources.this_machine() if is_local else resources.ELSEWHERE
    guardian = own_cluster.settle(job.uri) if is_local else Guardian()
    if is_local:
        # After Ray's shutdown, which is registered later and ends the actors: whoever sees this process gone, as the
        # next attempt, finds what its hosts have kept.
        atexit.register(fork_server.await_ends, HOSTS_END_WITHIN_S)
        hosting.import_libraries(spec)  # while Ray is imported, and starts
    guardian.look()
    from pipelines import cluster, inference

    expected = cluster.choose_replicas(spec, options.replicas, machine)
    connected = cluster.connect(options.ray_address, engines=expected.most, on_death=partial(_leave_dead, lease))
    plan = plan_job(job, pulse, engines=expected.most)  # while Ray starts
    pulse.planned(plan)
    takes_every_gpu = expected.gpus == machine.gpus  # so Ray need not choose
    waiting = inference.waiting_shards(job, plan)
    if waiting:
        resources.check_fits(spec, options.replicas, machine)
    first = inference.assign_ahead(job, plan, waiting, claim=claim, replicas=expected) if takes_every_gpu else None
    ahead = hosting.Ahead(first) if is_local and first else None
    hosts = hosting.serve(ahead) if is_local else None
    try:
        cluster.await_connection(connected, heed=pulse.heed)
        job_log.begin_again()
        guardian.look()
        replicas = cluster.choose_replicas(spec, options.replicas, cluster.resources())
        cluster.require(replicas, is_local=is_local, heed=pulse.heed)
    except JobStopped:
        if ahead is not None:  # it may have answers by now, which belong to the ledger
            ahead.dismiss()
            fork_server.await_ends(HOSTS_END_WITHIN_S)
        raise
    pulse.handed_over()
    inference.configure_ray_data(is_local=is_local)
    yield from inference.run_shards(job, plan, waiting, claim=claim, replicas=replicas, hosts=hosts)


def plan_job(job: JobStore, pulse: Pulse, *, engines: int) -> Plan:
    """Return the stored plan; make and store it at the first attempt, with shards enough for so many engines.

    Raises InvalidInput where the spec says fail, JobStopped.
    """
    pulse.heed()
    plan = job.plan()
    if plan is not None:
        return plan
    spec = job.spec()
    if spec.continued_from:
        return job.create_plan(continue_plan(spec, pulse.heed))
    plan = make_plan(spec, pulse.scanned, max_replicas=engines)
    if spec.on_invalid == "fail":
        failures = list(islice(find_failures(spec, plan, pulse.heed), SHOWN_FAILURES))
        if failures:
            first = failures[0]
            raise InvalidInput(
                f"{first.place.file}:{first.place.line}: {first.code}: {first.message} "
                f"(--on-invalid fail; `batchctl validate` lists every bad line)",
                failures,
            )
    plan = bring_together(job, plan, engines=engines, heed=pulse.heed)
    if plan.copies:
        logger.info("rows that begin alike stand far apart: they are brought together in %d shards", len(plan.copies))
    return job.create_plan(plan)


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
    os._exit(LEASE_LOST if lease.standing is Standing.SUPERSEDED else JobGone.exit_code)


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
