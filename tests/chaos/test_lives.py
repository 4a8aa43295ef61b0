"""The protocol where the place is emptied, given to a second job, or damaged, before every storage operation.

The second job's shards are as many and as large as the first one's, so that nothing but its life tells them apart.
`BATCHCTL_TESTS=long` tries every operation, and many second faults after each.
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from chaos.lives import Blow, Damaged, Emptied, Lives, perform
from chaos.mutants import MUTANTS_OF_DAMAGE, MUTANTS_OF_LIVES, Unsummed
from chaos.rehearsal import Job, make_job
from chaos.run import AS_SHIPPED, Variant
from chaos.schedules import Placed, seconds
from faults import Kind
from long_run import LONG

pytestmark = [pytest.mark.timeout(3600), *([pytest.mark.slow] if LONG else [])]

FIRST = make_job()
SECONDS = {"another input": make_job(suffix=b"-second", token="2e"), "the same command": make_job(token="2e")}
SCHEDULES: dict[str, Callable[[int], Placed]] = {
    "goes on at once": lambda _: Placed(),
    "sleeps until the other has ended": lambda at: Placed({at: Kind.PAUSE}),
    "dies, and another starts": lambda at: Placed({at: Kind.CRASH_BEFORE}),
}
MOST_SECOND_FAULTS = 40 if LONG else 1
EVERY = 1 if LONG else 13
"""Before each operation, or before some."""


def blows(what: Emptied | Damaged, second: Job, variant: Variant = AS_SHIPPED) -> Iterator[Blow]:
    """One before each operation of a run in which nothing else happens, and one after all."""
    count = len(perform(FIRST, second, Placed(), Blow(10_000, what), variant).operations)
    return (Blow(at, what) for at in range(1, count + 2, EVERY))


def runs(
    what: Emptied | Damaged, second: Job, schedule: Callable[[int], Placed], variant: Variant = AS_SHIPPED
) -> Iterator[Lives]:
    return (perform(FIRST, second, schedule(blow.at), blow, variant) for blow in blows(what, second, variant))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("what", list(Emptied), ids=lambda what: what.name.lower())
def test_a_place_that_is_emptied_holds_its_own_jobs_rows_at_the_end(what: Emptied, second: str, schedule: str) -> None:
    seen = Counter[str]()
    for lives in runs(what, SECONDS[second], SCHEDULES[schedule]):
        assert not lives.problems, str(lives)
        seen["runs"] += 1
        seen["a driver of the first job stopped"] += any(
            attempt.error is not None for attempt in lives.attempts[: lives.of_first]
        )
    assert not what.hands_on or seen["a driver of the first job stopped"] > 2, seen


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("variant", [AS_SHIPPED, Variant(store=Unsummed)], ids=["summed", "a disk"])
@pytest.mark.parametrize("what", list(Damaged), ids=lambda what: what.name.lower())
def test_a_damaged_part_is_in_no_ledger(what: Damaged, variant: Variant, schedule: str) -> None:
    damaged = 0
    for lives in runs(what, FIRST, SCHEDULES[schedule], variant):
        assert not lives.problems, str(lives)
        damaged += lives.was_damaged
    assert damaged


@pytest.mark.slow
@pytest.mark.parametrize("what", [*Emptied, *Damaged], ids=lambda what: what.name.lower())
def test_a_second_fault_after_that_changes_nothing(what: Emptied | Damaged) -> None:
    second, started_s, count = SECONDS["another input"], time.monotonic(), 0
    for blow in blows(what, second):
        for first in (Placed({blow.at: Kind.PAUSE}), Placed({blow.at: Kind.UNAVAILABLE_BEFORE})):
            following = list(seconds(first, perform(FIRST, second, first, blow).operations))
            for schedule in random.Random(repr((first, blow))).sample(
                following, min(MOST_SECOND_FAULTS, len(following))
            ):
                lives = perform(FIRST, second, schedule, blow)
                assert not lives.problems, f"{schedule}\n{lives}"
                count += 1
    print(f"{what.name}: {count} pairs, {time.monotonic() - started_s:.1f} s")


@pytest.mark.parametrize("name", [*MUTANTS_OF_LIVES, *MUTANTS_OF_DAMAGE])
def test_a_protocol_without_one_of_the_checks_is_found_out(name: str) -> None:
    """By the problem that is known of it. In the long run every failure is counted."""
    (variant, symptom), second = (MUTANTS_OF_LIVES | MUTANTS_OF_DAMAGE)[name], SECONDS["another input"]
    never = perform(FIRST, second, Placed(), Blow(10_000, Emptied.WHOLE), variant)
    assert not never.problems, "the mutant is wrong without any fault: it shows nothing"
    count = len(never.operations)
    found, performed = Counter[str](), Counter[str]()
    for what in (Emptied.SPEC, Emptied.WHOLE) if name in MUTANTS_OF_LIVES else (Damaged.FLIPPED, Damaged.DELETED):
        for at in range(count + 1, 0, -1):
            for schedule in SCHEDULES.values():
                if found.total() and not LONG:
                    return
                lives = perform(FIRST, second, schedule(at), Blow(at, what), variant)
                performed[what.name] += 1
                found[what.name] += any(symptom in problem for problem in lives.problems)
    print(f"{name}: " + ", ".join(f"{what} {found[what]} of {count}" for what, count in performed.items()))
    assert found.total(), f"{name} passed for right"
