"""The commit protocol, the lease and the ledger under every single fault: each line ends once, the ledger closes."""

from collections import Counter
from contextlib import suppress
from uuid import uuid4

import orjson
import pytest
from faults import Crash, Fault, FaultStore, Kind
from jobs import FakeClock, Worker, make_spec

from batch.jobs.store import JobStore
from batch.planning.plan import Plan, make_plan
from batch.records.manifest import Manifest
from batch.records.objects import Exit
from batch.spec.job_spec import JobSpec
from connectors.errors import NotFound, StoreError
from connectors.stores.registry import open_store
from connectors.stores.store import Store

ROWS = 7
BAD = {3: b"{broken", 6: b'["no object"]'}


@pytest.fixture(scope="module")
def job() -> tuple[JobSpec, Plan]:
    """Seven rows in three shards, two rows bad, two lines blank."""
    bucket = f"inputs-{uuid4().hex}"
    lines = [BAD.get(n, b'{"custom_id": "r%d", "body": {"messages": []}}' % n) for n in range(1, ROWS + 1)]
    open_store(f"memory://{bucket}").create("a.jsonl", b"\n".join([*lines[:4], b"", *lines[4:], b" "]) + b"\n")
    spec = make_spec(inputs=(f"memory://{bucket}/a.jsonl",), shard_rows=3)
    plan = make_plan(spec)
    assert (len(plan.shards), plan.lines, plan.blank) == (3, ROWS + 2, 2)
    return spec, plan


def operations_of_a_clean_run(job: tuple[JobSpec, Plan]) -> int:
    store = FaultStore(fresh_store())
    assert Worker(JobStore(store), "first", FakeClock()).run(*job)
    return store.operations


def fresh_store() -> Store:
    return open_store(f"memory://out-{uuid4().hex}/job")


def check_output(store: Store, manifest: Manifest) -> None:
    """Every row once, in input order, by one attempt per shard; the ledger closed and true; the manifest final."""
    reader = JobStore(store)
    assert reader.manifest() == manifest
    results = [orjson.loads(line) for line in reader.lines("results")]
    errors = [orjson.loads(line) for line in reader.lines("errors")]
    assert [line["custom_id"] for line in results] == [f"r{n}" for n in range(1, ROWS + 1) if n not in BAD]
    assert [line["error"]["code"] for line in errors] == ["malformed_json", "not_an_object"]
    assert manifest.lines == manifest.blank + manifest.succeeded + manifest.failed == ROWS + 2
    assert (manifest.succeeded, manifest.failed) == (len(results), len(errors))
    for part in manifest.results:
        answered_by = {orjson.loads(line)["response"]["body"]["by"] for line in store.get(part.key).splitlines()}
        assert len(answered_by) == 1, f"{part.key} mixes attempts"


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.PAUSE])
def test_a_run_after_any_single_fault_ends_with_every_line_once(kind: Kind, job: tuple[JobSpec, Plan]) -> None:
    hits = 0
    for at in range(1, 200):
        store, clock = fresh_store(), FakeClock()
        faulty = FaultStore(store, Fault(kind, at))
        manifest = None
        with suppress(Crash, StoreError):
            manifest = Worker(JobStore(faulty), "first", clock).run(*job)
        hits += faulty.was_hit
        again = Worker(JobStore(store), "second", clock).run(*job)
        assert again is not None
        assert manifest in (None, again)
        check_output(store, again)
        if not faulty.was_hit:
            break
    assert hits == operations_of_a_clean_run(job)


def test_two_crashes_in_a_row_change_nothing_of_the_promise(job: tuple[JobSpec, Plan]) -> None:
    for first in range(1, operations_of_a_clean_run(job), 5):
        for second in range(1, 60, 7):
            store, clock = fresh_store(), FakeClock()
            for name, at in (("first", first), ("second", second)):
                with suppress(Crash):
                    Worker(JobStore(FaultStore(store, Fault(Kind.CRASH_AFTER, at))), name, clock).run(*job)
            manifest = Worker(JobStore(store), "third", clock).run(*job)
            assert manifest is not None
            check_output(store, manifest)


@pytest.mark.parametrize("heeds_lease", [True, False])
def test_a_zombie_that_wakes_after_the_job_ended_changes_nothing(heeds_lease: bool, job: tuple[JobSpec, Plan]) -> None:
    for at in range(1, operations_of_a_clean_run(job) + 1):
        store, clock = fresh_store(), FakeClock()
        ended: list[Manifest | None] = []

        def other(store: Store = store, clock: FakeClock = clock, ended: list[Manifest | None] = ended) -> None:
            ended.append(Worker(JobStore(store), "other", clock).run(*job))

        zombie = Worker(JobStore(FaultStore(store, Fault(Kind.PAUSE, at, other))), "zombie", clock, heeds_lease)
        try:
            woken = zombie.run(*job)
        except NotFound:  # what it had just written was collected as garbage
            woken = None
        assert ended[0] is not None
        assert woken in (None, ended[0])
        check_output(store, ended[0])


def test_a_zombie_wakes_while_the_other_is_half_done(job: tuple[JobSpec, Plan]) -> None:
    """Both commit some shards; each shard has one winner, and the manifest names the winners' parts."""
    winners: Counter[int] = Counter()
    for at in range(12, operations_of_a_clean_run(job) + 1):
        store, clock = fresh_store(), FakeClock()

        def other(store: Store = store, clock: FakeClock = clock, at: int = at) -> None:
            with suppress(Crash):
                Worker(JobStore(FaultStore(store, Fault(Kind.CRASH_BEFORE, 100 + at % 7))), "other", clock).run(*job)

        Worker(JobStore(FaultStore(store, Fault(Kind.PAUSE, at, other))), "zombie", clock, heeds_lease=False).run(*job)
        manifest = Worker(JobStore(store), "third", clock).run(*job)
        assert manifest is not None
        check_output(store, manifest)
        winners[len({commit.attempt for commit in JobStore(store).commits().values()})] += 1
    assert winners[2], "no run had winners of both attempts: the fault no longer falls between commits"


def test_parts_of_losers_are_collected_and_named_parts_stay(job: tuple[JobSpec, Plan]) -> None:
    store, clock = fresh_store(), FakeClock()
    loser = JobStore(store)
    loser.create_spec(job[0])
    stray = loser.write_part("results", 0, attempt="loser", lines=[b"{}"])
    manifest = Worker(JobStore(store), "winner", clock).run(*job)
    assert manifest is not None
    assert stray.key not in {found.key for found in store.list("")}
    check_output(store, manifest)


def test_an_attempt_that_ended_is_followed_without_waiting(job: tuple[JobSpec, Plan]) -> None:
    store, clock = fresh_store(), FakeClock()
    Worker(JobStore(store), "first", clock).run(*job)
    end = JobStore(store).attempt_end(1)
    assert end is not None
    assert end.exit is Exit.FINISHED
    assert clock.seconds == 0
