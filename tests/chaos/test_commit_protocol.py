"""Lease, plan, commits and ledger under every fault at every operation, and under drivers that take turns by chance.

`BATCHCTL_TESTS=long` runs every pair of faults and thousands of random schedules from a new seed, and counts the
failures of each mutant. `BATCHCTL_TEST_SEED` is the first seed of the random ones: a schedule's own seed repeats it.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest
from chaos.mutants import MUTANTS, MUTANTS_OF_COPIES
from chaos.rehearsal import Job, make_job
from chaos.run import AS_SHIPPED, Run, Variant, perform
from chaos.schedules import Drawn, Placed, seconds, singles
from chaos.stage import Schedule
from long_run import LONG

from batch.errors import JobHeld
from batch.records.manifest import FinalState

FIRST_SEED = int(os.environ.get("BATCHCTL_TEST_SEED") or (random.SystemRandom().randrange(10**9) if LONG else 1))
RANDOM_SCHEDULES = 5_000 if LONG else 400
PAIRS_PER_FIRST_FAULT = None if LONG else 3
MUTANT_SCHEDULES = 1_000 if LONG else 300

pytestmark = [pytest.mark.timeout(1800), *([pytest.mark.slow] if LONG else [])]

Say = Callable[[str], None]


@pytest.fixture(scope="module", params=[False, True], ids=["in input order", "by beginning"])
def job(request: pytest.FixtureRequest) -> Job:
    return make_job(is_scattered=request.param)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Tell figures, at night to the terminal."""

    def tell(figures: str) -> None:
        if not LONG:
            print(figures)
            return
        with capsys.disabled():
            print(f"\n{figures}", end="", flush=True)

    return tell


def runs(job: Job, schedules: Iterable[Schedule], variant: Variant = AS_SHIPPED) -> Iterator[Run]:
    for schedule in schedules:
        yield perform(job, schedule, variant)


def pairs(job: Job, first: Placed, variant: Variant, *, most: int | None) -> list[Placed]:
    """All second faults after a first, or so many of them, drawn by the first."""
    following = list(seconds(first, perform(job, first, variant).operations))
    return following if most is None else random.Random(repr(first)).sample(following, min(most, len(following)))


def all_singles(job: Job, variant: Variant = AS_SHIPPED) -> list[Placed]:
    return list(singles(perform(job, Placed(), variant).operations))


def all_pairs(job: Job, variant: Variant = AS_SHIPPED, *, most: int | None) -> Iterator[Placed]:
    for first in all_singles(job, variant):
        yield from pairs(job, first, variant, most=most)


def drawn(count: int) -> Iterator[Drawn]:
    return (Drawn(seed) for seed in range(FIRST_SEED, FIRST_SEED + count))


def test_every_single_fault_leaves_every_row_once(job: Job, say: Say) -> None:
    started_s, count = time.monotonic(), 0
    for run in runs(job, all_singles(job)):
        assert not run.problems, str(run)
        count += 1
    assert count > 100, "operations of an undisturbed run are no longer struck"
    say(f"{count} single faults, {time.monotonic() - started_s:.1f} s")


@pytest.mark.slow
def test_two_faults_leave_every_row_once(job: Job, say: Say) -> None:
    started_s, count = time.monotonic(), 0
    for run in runs(job, all_pairs(job, most=PAIRS_PER_FIRST_FAULT)):
        assert not run.problems, str(run)
        count += 1
    say(f"{count} pairs of faults, {time.monotonic() - started_s:.1f} s")


def test_a_cancellation_at_any_moment_leaves_every_row_once(job: Job) -> None:
    states = Counter[FinalState]()
    for at in range(1, len(perform(job, Placed()).operations) + 1):
        run = perform(job, Placed(cancelled_at=at))
        assert not run.problems, str(run)
        assert run.manifest is not None
        states[run.manifest.state] += 1
    assert set(states) == {FinalState.CANCELLED, FinalState.COMPLETED}


@pytest.mark.slow
def test_random_schedules_leave_every_row_once(job: Job, say: Say) -> None:
    started_s, seen = time.monotonic(), Counter[str]()
    for run in runs(job, drawn(RANDOM_SCHEDULES)):
        assert not run.problems, f"BATCHCTL_TEST_SEED repeats it\n{run}"
        assert run.manifest is not None
        told = [commit for attempt in run.attempts for commit in attempt.committed]
        seen["a job by several drivers"] += len({commit.epoch for commit in told}) > 1
        seen["a driver held off"] += any(isinstance(attempt.error, JobHeld) for attempt in run.attempts)
        seen["another's commit adopted"] += any(
            attempt.name not in commit.attempt for attempt in run.attempts for commit in attempt.committed
        )
        seen["a job cancelled"] += run.manifest.state is FinalState.CANCELLED
    assert len(seen) == 4
    assert min(seen.values()) > RANDOM_SCHEDULES / 50, seen
    say(f"{RANDOM_SCHEDULES} schedules from seed {FIRST_SEED}, {time.monotonic() - started_s:.1f} s, {dict(seen)}")


def test_the_same_seed_gives_the_same_run(job: Job) -> None:
    for seed in range(20):
        assert str(perform(job, Drawn(seed))) == str(perform(job, Drawn(seed)))


@pytest.mark.parametrize("name", [*MUTANTS, *MUTANTS_OF_COPIES])
def test_a_wrong_protocol_is_found_out(name: str, say: Say) -> None:
    """By the problem that is known of it. At night every failure is counted."""
    job = make_job(is_scattered=name in MUTANTS_OF_COPIES)
    (variant, symptom), found, started_s = (MUTANTS | MUTANTS_OF_COPIES)[name], Counter[str](), time.monotonic()
    assert not perform(job, Placed(), variant).problems, "the mutant is wrong without any fault: it shows nothing"
    sources: dict[str, Iterable[Schedule]] = {
        "single": all_singles(job, variant),
        "random": drawn(MUTANT_SCHEDULES),
        "pair": all_pairs(job, variant, most=5) if LONG else (),
    }
    performed = Counter[str]()
    for source, schedules in sources.items():
        for run in runs(job, schedules, variant):
            performed[source] += 1
            found[source] += any(symptom in problem for problem in run.problems)
            if found[source] and not LONG:
                break
    counts = ", ".join(f"{source} {found[source]} of {count}" for source, count in performed.items())
    say(f"{name}: {counts}, {time.monotonic() - started_s:.1f} s")
    assert found.total(), f"{name} passed for right"
