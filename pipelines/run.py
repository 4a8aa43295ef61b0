"""One attempt at a job, from its plan to its ledger. Read this page first: it shows the architecture.

plan → start engines → answer → commit → close. Engines commit their shards themselves; what comes back here is a
receipt for each, for counting. What overlaps to make the start short is in `startup`. Knows nothing of signals.
"""

import logging
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import orjson

from batch.clock import SystemClock
from batch.errors import InvalidInput
from batch.jobs.audit import waiting_shards
from batch.jobs.prefix_clustering import cluster_by_prefix
from batch.jobs.store import JobStore
from batch.planning.plan import Plan, make_plan
from batch.planning.validation import find_failures
from batch.records.manifest import EngineIdentity, Manifest
from batch.records.objects import Epoch, Tally
from batch.submission.retry_failed import continue_plan
from pipelines.attempt import unanswered
from pipelines.attempt.finalize import finalize
from pipelines.attempt.heartbeat import JobStopped, Pulse
from pipelines.startup import Startup

if TYPE_CHECKING:
    from pipelines.engine_process.service import Receipt

logger = logging.getLogger(__name__)

SHOWN_FAILURES = 20


def run(job: JobStore, claim: Epoch, pulse: Pulse, startup: Startup) -> Manifest:
    """Answer the rows of the shards that have no commit, or end them if the job is to end; close the ledger."""
    engine = EngineIdentity(job.spec().engine, "", {})
    try:
        for receipt in answer_rows(job, pulse, startup):
            tally = Tally(receipt.succeeded, receipt.failed, receipt.prompt_tokens, receipt.completion_tokens)
            pulse.settled(receipt.shard, tally)
            engine = EngineIdentity(receipt.engine, receipt.engine_version, orjson.loads(receipt.engine_config))
    except JobStopped as stopped:
        logger.info("the job ends before an engine is there: %s", stopped)
        plan = unanswered.standing_plan(job)
        pulse.planned(plan)
        for commit in unanswered.end_rows(job, plan, stopped.stop, epoch=claim.number):
            pulse.settled(commit.shard, commit.tally)
    pulse.writing()
    return finalize(job, unanswered.standing_plan(job), epoch=claim.number, engine=engine, clock=SystemClock())


def answer_rows(job: JobStore, pulse: Pulse, startup: Startup) -> "Iterator[Receipt]":
    """Plan, and run the shards that have no commit. Raises JobStopped as long as no engine hears of a stop itself."""
    pulse.heed()
    plan = plan_job(job, pulse, engines=startup.begin())
    pulse.planned(plan)
    waiting = waiting_shards(job, plan)
    startup.prestart(plan, waiting)
    engines = startup.finish(plan, waiting, pulse.heed)
    pulse.handed_over()
    from pipelines.cluster.graph import run_shards  # which imports Ray; by now it is there

    yield from run_shards(waiting, engines)


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
    plan = cluster_by_prefix(job, plan, engines=engines, heed=pulse.heed)
    if plan.copies:
        logger.info("rows that share a prefix stand far apart: they are clustered in %d shards", len(plan.copies))
    return job.create_plan(plan)
