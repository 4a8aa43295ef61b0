"""Which waiting job starts, on which slots, and what the others are told."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.scheduling.queue import Key, Running, Waiting, decide, in_order, may_start_at

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


def job(name: str, *, age_s: float = 60, priority: int = 0, needs: int = 1, attempts: int = 0, **more: bool) -> Waiting:
    created = NOW - timedelta(seconds=age_s)
    return Waiting(Key("a", name), created, created, priority, needs, attempts, **more)


def names(line: list[Waiting]) -> list[str]:
    return [each.key.job_id for each in line]


def test_the_oldest_of_the_highest_priority_comes_first() -> None:
    line = [job("new", age_s=1), job("old", age_s=9), job("urgent", age_s=0, priority=2), job("later", priority=-1)]
    assert names(in_order(line, NOW)) == ["urgent", "old", "new", "later"]


def test_an_hour_of_waiting_is_a_class_of_priority() -> None:
    line = [job("urgent", age_s=0, priority=2), job("patient", age_s=2 * 3600 + 1)]
    assert names(in_order(line, NOW)) == ["patient", "urgent"]
    line = [job("urgent", age_s=0, priority=2), job("patient", age_s=2 * 3600 - 1)]
    assert names(in_order(line, NOW)) == ["urgent", "patient"]


def test_jobs_start_on_the_slots_that_are_free() -> None:
    running = [Running(Key("a", "r"), ("1",)), Running(Key("b", "elsewhere"), None)]
    decision = decide([job("x"), job("y", age_s=1)], running, ["0", "1", "2"], NOW)
    assert [(start.key.job_id, start.slots) for start in decision.starts] == [("x", ("0",)), ("y", ("2",))]
    assert decision.reasons == {}


def test_who_waits_is_told_its_place_and_for_what() -> None:
    running = [Running(Key("a", "r"), ("cpu",))]
    decision = decide([job("x"), job("y", age_s=1), job("z", age_s=0)], running, ["cpu"], NOW)
    assert decision.starts == ()
    assert [decision.reasons[Key("a", name)] for name in "xyz"] == [
        "1st of 3 in line; it waits for the engine, in use by r.",
        "2nd of 3 in line; it waits for the engine, in use by r.",
        "3rd of 3 in line; it waits for the engine, in use by r.",
    ]


def test_a_small_job_does_not_overtake_one_that_waits_for_more() -> None:
    running = [Running(Key("a", "r"), ("0",))]
    decision = decide([job("large", needs=2), job("small", age_s=1)], running, ["0", "1"], NOW)
    assert decision.starts == ()
    assert decision.reasons[Key("a", "large")] == "1st of 2 in line; it waits for 2 GPUs, in use by r."


def test_a_job_that_no_machine_like_this_can_run_holds_up_nobody() -> None:
    decision = decide([job("huge", needs=9), job("small", age_s=1)], [], ["0", "1"], NOW)
    assert [start.key.job_id for start in decision.starts] == ["small"]
    assert "needs 9 GPUs, and this machine has 2" in decision.reasons[Key("a", "huge")]


def test_a_job_that_only_closes_takes_no_place() -> None:
    running = [Running(Key("a", "r"), ("cpu",))]
    decision = decide([job("x"), job("cancelled", age_s=1, only_closes=True)], running, ["cpu"], NOW)
    assert [(start.key.job_id, start.slots) for start in decision.starts] == [("cancelled", ())]


@pytest.mark.parametrize(("attempts", "delay_s"), [(0, 0), (1, 2), (2, 4), (3, 8), (8, 256), (9, 300), (500, 300)])
def test_attempts_that_break_off_follow_each_other_ever_more_slowly(attempts: int, delay_s: float) -> None:
    broken = job("x", attempts=attempts)
    assert (may_start_at(broken) - broken.since).total_seconds() == delay_s


def test_a_job_that_waits_for_its_next_attempt_holds_up_nobody() -> None:
    decision = decide([job("broken", age_s=1, attempts=3), job("next", age_s=0)], [], ["cpu"], NOW)
    assert [start.key.job_id for start in decision.starts] == ["next"]
    assert decision.reasons[Key("a", "broken")] == "Attempt 3 broke off; the next one starts at 12:00:07 UTC."


JOBS = st.lists(
    st.builds(
        job,
        st.uuids().map(str),
        age_s=st.floats(0, 10**6),
        priority=st.integers(-100, 100),
        needs=st.integers(1, 9),
        attempts=st.integers(0, 20),
        only_closes=st.booleans(),
    ),
    max_size=20,
)


@given(JOBS, st.integers(1, 8), st.data())
def test_no_slot_is_given_twice_and_every_job_starts_or_is_told_why_not(
    line: list[Waiting], slots: int, data: st.DataObject
) -> None:
    all_slots = [str(number) for number in range(slots)]
    taken = data.draw(st.sets(st.sampled_from(all_slots)))
    running = [Running(Key("r", slot), (slot,)) for slot in taken]
    decision = decide(line, running, all_slots, NOW)
    given_out = [slot for start in decision.starts for slot in start.slots]
    assert len(set(given_out)) == len(given_out)
    assert not set(given_out) & taken
    assert set(given_out) <= set(all_slots)
    started = {start.key for start in decision.starts}
    assert started | decision.reasons.keys() == {each.key for each in line}
    assert not started & decision.reasons.keys()
    needs = {each.key: 0 if each.only_closes else each.needs for each in line}
    assert all(len(start.slots) == needs[start.key] for start in decision.starts)
    ordered = in_order(line, NOW)
    places = [-each.priority - int((NOW - each.created_at) / timedelta(hours=1)) for each in ordered]
    assert all(before <= after for before, after in pairwise(places))
