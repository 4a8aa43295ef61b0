"""One run of a job under a schedule, and what is wrong with how it ended.

Whatever happened, a last driver comes at the end, and nothing happens to it: the person who gives the command again.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import orjson
from chaos.rehearsal import Attempt, Job
from chaos.stage import Operation, Schedule, Stage
from faults import Crash, Verb, Wrapped
from jobs import CREATED_AT

from batch import layout
from batch.errors import BatchError, JobHeld
from batch.jobs.store import JobStore
from batch.records.manifest import Manifest
from batch.records.objects import Stop, StopState
from connectors.errors import NotFound, StoreError
from connectors.stores.registry import open_store
from connectors.stores.store import Store

T = TypeVar("T")

STORE = "memory://chaos/job"
WRITTEN_ONCE = (
    *(layout.SPEC, layout.PLAN, layout.STOP, layout.MANIFEST),
    *(layout.EPOCH_PREFIX, layout.COMMIT_PREFIX, layout.VOID_PREFIX),
)
STOP = Stop(StopState.CANCELLED, "enough", CREATED_AT)


@dataclass(frozen=True, slots=True)
class Variant:
    """The code under test: as it ships, or a mutant. `store` stands between a driver's job store and the faults."""

    job: Callable[[Store], JobStore] = JobStore
    store: Callable[[Store], Store] = lambda store: store


AS_SHIPPED = Variant()


@dataclass(slots=True)
class Run:
    """What happened, and what is wrong with it."""

    schedule: Schedule
    operations: list[Operation]
    attempts: list[Attempt]
    manifest: Manifest | None
    problems: list[str]

    def __str__(self) -> str:
        ended = [f"{attempt.name}: {attempt.error!r}" for attempt in self.attempts]
        return "\n".join([repr(self.schedule), *self.problems, *ended, *map(str, self.operations)])


def perform(job: Job, schedule: Schedule, variant: Variant = AS_SHIPPED) -> Run:
    """Run the job under the schedule, then once more undisturbed, and judge."""
    shelf = empty(open_store(STORE))
    witness = Witness(shelf)
    JobStore(witness).create_spec(job.spec)
    stage = Stage(schedule, witness, cancel=lambda: JobStore(witness).request_stop(STOP))
    attempts: list[Attempt] = []

    def attempt(number: int, store: Store) -> None:
        attempts.append(Attempt(variant.job(variant.store(store)), job.plans[number % 2], f"driver{number}"))
        attempts[-1].run()

    stage.play(attempt, is_over=lambda: JobStore(shelf).manifest() is not None)
    attempt(len(attempts), witness)
    reader = JobStore(shelf)
    problems = [*witness.problems, *_problems(job, reader, shelf, attempts)]
    return Run(schedule, stage.operations, attempts, reader.manifest(), problems)


class Witness(Wrapped):
    """The one store below all drivers. Notes every change to what was to be written once."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.problems: list[str] = []

    def _do(self, verb: Verb, key: str, operation: Callable[[], T]) -> T:
        if not verb.writes or not key.startswith(WRITTEN_ONCE):
            return operation()
        before = _content(self.inner, key)
        answer = operation()
        if before is not None and _content(self.inner, key) != before:
            self.problems.append(f"{key} was changed by a {verb.value}")
        return answer


def _problems(job: Job, reader: JobStore, store: Store, attempts: list[Attempt]) -> Iterator[str]:
    manifest = reader.manifest()
    if manifest is None:
        yield f"the undisturbed driver did not end the job: {attempts[-1].error!r}"
        return
    yield from _problems_of_drivers(reader, manifest, attempts)
    yield from _problems_of_ledger(reader, manifest)
    named = {part.key for part in (*manifest.results, *manifest.errors)}
    kept = {found.key for prefix in (layout.RESULTS_PREFIX, layout.ERRORS_PREFIX) for found in store.list(prefix)}
    if named != kept:
        yield f"parts that the manifest does not name, or that are gone: {sorted(named ^ kept)}"
        return
    try:
        yield from problems_of_lines(job, reader, manifest)
    except BatchError as error:  # other bytes than those whose sha256 was committed
        yield str(error)


def _problems_of_drivers(reader: JobStore, manifest: Manifest, attempts: list[Attempt]) -> Iterator[str]:
    """A driver ends the job, or by a fault, or because of another driver; and what it was told is true."""
    if attempts[-1].manifest is None:
        yield f"the undisturbed driver ended by {attempts[-1].error!r}"
    for attempt in attempts:
        if not isinstance(attempt.error, Crash | StoreError | JobHeld | None):
            yield f"{attempt.name} ended by {attempt.error!r}"
        if attempt.manifest not in (None, manifest):
            yield f"{attempt.name} was told of another manifest than the one that stands"
        yield from (
            f"{attempt.name} was told of another commit of shard {commit.shard} than the one that stands"
            for commit in attempt.committed
            if reader.commit_of(commit.shard) != commit
        )


def _problems_of_ledger(reader: JobStore, manifest: Manifest) -> Iterator[str]:
    plan, commits = reader.plan(), reader.commits()
    if plan is None or list(commits) != [shard.index for shard in plan.shards]:
        yield f"commits of the shards {list(commits)} stand, the plan is {plan}"
    if plan is not None and not plan.copies:  # else they are written again, in the order of the input
        for kind in ("results", "errors"):
            by_commits = [part for commit in commits.values() for part in [getattr(commit, kind)] if part]
            if [replace(part, etag="") for part in by_commits] != list(getattr(manifest, kind)):
                yield f"the manifest names other {kind} than the commits"
    if manifest.lines != manifest.blank + manifest.succeeded + manifest.failed:
        yield "the ledger is open"


def problems_of_lines(job: Job, reader: JobStore, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the lines of an output: each row of the job once, in its order, as the ledger counts."""
    results = [orjson.loads(line) for line in reader.lines("results")]
    errors = [orjson.loads(line) for line in reader.lines("errors")]
    times = Counter(line["id"] for line in (*results, *errors))
    if times != Counter(job.row_ids):
        yield f"not every row once: {[times[row] for row in job.row_ids]} times, {len(times)} rows"
    if (len(results), len(errors)) != (manifest.succeeded, manifest.failed):
        yield f"{len(results)} results and {len(errors)} errors; the ledger says otherwise"
    for lines in (results, errors):
        order = [job.row_ids.index(line["id"]) for line in lines]
        if order != sorted(order):
            yield f"not in the order of the input: {order}"


def _content(store: Store, key: str) -> bytes | None:
    try:
        return store.get(key)
    except NotFound:
        return None


def empty(store: Store) -> Store:
    """The store, with nothing in it."""
    for found in list(store.list("")):
        store.delete(found.key)
    return store
