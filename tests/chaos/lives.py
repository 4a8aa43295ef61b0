"""One run of a job whose place is emptied, given to another job or damaged under it, and what is wrong with the end.

Drivers that had started go on as if nothing had happened. Later ones, and the person who gives the command again at
the end, belong to the job that has the place then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

import orjson
from chaos.rehearsal import Attempt, Job
from chaos.run import AS_SHIPPED, STORE, Variant, Witness, empty, problems_of_lines
from chaos.schedules import Placed
from chaos.stage import Operation, Stage
from faults import Crash, Verb

from batch import layout
from batch.errors import BatchError, JobHeld, UsageError
from batch.jobs.store import JobStore
from batch.planning.plan import Plan
from batch.records.manifest import LedgerOpen, Manifest
from batch.records.objects import ForeignRecord
from connectors.errors import StoreError
from connectors.stores.registry import open_store
from connectors.stores.store import Store

LOOK = (Verb.LIST, layout.RESULTS_PREFIX)
MOST_COMMANDS = 5
"""How often a person gives the command again: once for each thing that it names."""


class Emptied(Enum):
    """What is deleted; but for the results, the place is then given to the second job."""

    WHOLE = ("",)
    RECORDS = (layout.JOB_PREFIX,)
    SPEC = (layout.SPEC,)
    COMMITS = (layout.COMMIT_PREFIX,)
    RESULTS = (layout.RESULTS_PREFIX, layout.ERRORS_PREFIX)

    @property
    def hands_on(self) -> bool:
        return self in (Emptied.WHOLE, Emptied.RECORDS, Emptied.SPEC)


class Damaged(Enum):
    """What becomes of a part that a commit names."""

    DELETED = "deleted"
    CUT = "cut"
    FLIPPED = "a bit flipped"


@dataclass(frozen=True, slots=True)
class Blow:
    """What happens just before the operation `at`."""

    at: int
    what: Emptied | Damaged


@dataclass(slots=True)
class AttemptAtEither(Attempt):
    """One that plans the job whose spec it finds. `plans`: by their lives."""

    plans: Mapping[str, Plan] = field(default_factory=dict)

    def made_plan(self) -> Plan:
        return self.plans[self.job.spec().life]


@dataclass(slots=True)
class Lives:
    """The run so far. `first` has the place at the beginning; `second` gets it, if anybody does."""

    first: Job
    second: Job
    schedule: Placed
    blow: Blow
    variant: Variant
    witness: Witness = field(init=False)
    store: Store = field(default_factory=lambda: empty(open_store(STORE)))
    attempts: list[Attempt] = field(default_factory=list)
    of_first: int | None = None
    """How many drivers the first job had when it lost its place."""
    had_remains: bool = False
    was_refused: bool = False
    was_damaged: bool = False
    problems: list[str] = field(default_factory=list)
    stage: Stage = field(init=False)

    def __post_init__(self) -> None:
        self.witness = Witness(self.store)
        JobStore(self.witness).create_spec(self.first.spec)
        self.stage = Stage(self.schedule, self.witness, before=self.strike)

    @property
    def operations(self) -> list[Operation]:
        return self.stage.operations

    @property
    def now(self) -> Job:
        return self.first if self.of_first is None else self.second

    def __str__(self) -> str:
        ended = [f"{attempt.name}: {attempt.error!r}" for attempt in self.attempts]
        return "\n".join([repr((self.blow, self.schedule)), *self.problems, *ended, *map(str, self.operations)])

    def strike(self, at: int) -> None:
        if at != self.blow.at:
            return
        if isinstance(self.blow.what, Damaged):
            self._damage(self.blow.what)
            return
        for prefix in self.blow.what.value:
            for found in list(self.store.list(prefix)):
                self.store.delete(found.key)
        if self.blow.what.hands_on:
            self._hand_on()

    def _hand_on(self) -> None:
        self.of_first = len({operation.driver for operation in self.stage.operations})  # who has read its spec
        self.had_remains = any(
            found.key.startswith((layout.JOB_PREFIX, layout.MANIFEST)) for found in self.store.list("")
        )
        try:
            self.variant.job(self.store).create_spec(self.second.spec)
        except UsageError:  # as it says, the rest is deleted too
            self.was_refused = True
            empty(self.store)
            self.variant.job(self.store).create_spec(self.second.spec)

    def _damage(self, how: Damaged) -> None:
        job = JobStore(self.store)
        parts = [part for commit in job.commits().values() for part in commit.output.parts]
        keys = {found.key for found in self.store.list("")}
        part = next((part for part in parts if part.key in keys), None)
        if part is None:
            return
        self.was_damaged, content = True, self.store.get(part.key)
        if how is Damaged.DELETED:
            self.store.delete(part.key)
        else:
            cut, flipped = content[:-5], bytes([content[0] ^ 1]) + content[1:]
            self.store.put(part.key, cut if how is Damaged.CUT else flipped)

    def attempt(self, number: int, store: Store) -> None:
        job = self.variant.job(self.variant.store(store))
        plans = {each.spec.life: each.plans[number % 2] for each in (self.first, self.second)}
        self.attempts.append(AttemptAtEither(job, self.first.plans[0], f"driver{number}", plans=plans))
        self.attempts[-1].run()

    def manifest(self) -> Manifest | None:
        try:
            return self.variant.job(self.store).manifest()
        except BatchError:
            return None


def perform(first: Job, second: Job, schedule: Placed, blow: Blow, variant: Variant = AS_SHIPPED) -> Lives:
    """Run the drivers of a schedule, then the command undisturbed until it ends the job, and judge."""
    lives = Lives(first, second, schedule, blow, variant)
    lives.stage.play(lives.attempt, is_over=lambda: lives.manifest() is not None)
    for _ in range(MOST_COMMANDS):
        lives.attempt(len(lives.attempts), lives.witness)
        error = lives.attempts[-1].error
        if error is None:
            break
        if isinstance(error, ForeignRecord):  # its cure
            address = str(error).partition(" belongs ")[0]
            lives.store.delete(address.removeprefix(f"{STORE}/"))
    lives.problems += [*lives.witness.problems, *_problems(lives)]
    return lives


def _problems(lives: Lives) -> Iterator[str]:
    manifest = lives.manifest()
    if manifest is None or lives.attempts[-1].error is not None:
        yield f"the command did not end the job: {lives.attempts[-1].error!r}"
        return
    yield from _problems_of_drivers(lives, manifest)
    if lives.was_refused != lives.had_remains:
        yield "the remains of another job were not refused"
    if _came_too_late(lives):
        return
    named = {part.key for part in (*manifest.results, *manifest.errors)}
    kept = {found.key for prefix in Emptied.RESULTS.value for found in lives.store.list(prefix)}
    if named - kept:
        yield f"parts that are gone: {sorted(named - kept)}"
        return
    try:
        yield from problems_of_lines(lives.now, JobStore(lives.store), manifest)
        yield from _problems_of_answers(lives)
    except BatchError as error:
        yield str(error)


def _problems_of_drivers(lives: Lives, manifest: Manifest) -> Iterator[str]:
    if manifest.spec_digest != lives.now.spec.digest:
        yield "the ledger is another job's"
    of_first = lives.of_first or 0
    for number, attempt in enumerate(lives.attempts):
        is_of_first = number < of_first
        # A runner whose plan was deleted has none to begin with.
        expected = BatchError | ValueError if is_of_first else JobHeld | LedgerOpen | ForeignRecord
        if not isinstance(attempt.error, Crash | StoreError | expected | None):
            yield f"{attempt.name} ended by {attempt.error!r}"
        told = attempt.manifest
        if told is not None and (told.spec_digest != lives.first.spec.digest if is_of_first else told != manifest):
            yield f"{attempt.name} was told of another ledger than its own job's"
    late = [
        operation
        for operation in islice(lives.operations, lives.blow.at, None)
        if operation.driver < of_first and operation.verb.writes
    ]
    if late:
        yield f"written or deleted where the job is gone: {late[0]}"


def _problems_of_answers(lives: Lives) -> Iterator[str]:
    own = {attempt.name for attempt in lives.attempts[lives.of_first or 0 :]}
    for line in map(orjson.loads, JobStore(lives.store).lines("results")):
        if line["response"]["body"]["by"] not in own or line["custom_id"] not in lives.now.custom_ids:
            yield f"an answer of another job: {line}"


def _came_too_late(lives: Lives) -> bool:
    """It struck after the last look of the driver that closed the ledger: who reads that is told."""
    if lives.of_first is not None:
        return False
    numbered = list(enumerate(lives.operations, 1))
    closer = next((op.driver for _, op in numbered if op.key == layout.MANIFEST and op.verb is Verb.CREATE), None)
    looks = [at for at, op in numbered if op.driver == closer and (op.verb, op.key) == LOOK]
    closing = [at for at in looks if any(op.key == layout.MANIFEST for _, op in numbered[at:])]
    return bool(closing) and lives.blow.at > closing[0]
