"""Who is let into an engine next: rows that share a prefix together, generation by generation, suspects last."""

import asyncio
from collections.abc import Sequence

import pytest
from fast_loop import run_fast

from pipelines.shards.admission import Admission

Row = tuple[str, int]
"""How it begins, and how many engines died beside it."""


def let_in(rows: Sequence[Row], *, window: int, later: Sequence[Row] = ()) -> tuple[list[str], list[int]]:
    """Line up `rows`, then open; `later` ones come after the first was let in. Return the order and the crowds."""
    order: list[str] = []
    crowds: list[int] = []
    inside = 0

    async def pass_through(admission: Admission, name: str, deaths: int) -> None:
        nonlocal inside
        await admission.enter(name.encode(), deaths)
        inside += 1
        order.append(name)
        crowds.append(inside)
        await asyncio.sleep(1)
        inside -= 1
        admission.leave()

    async def run() -> None:
        admission = Admission()
        async with asyncio.TaskGroup() as group:
            for name, deaths in rows:
                group.create_task(pass_through(admission, name, deaths))
            await asyncio.sleep(0)
            admission.open(window)
            await asyncio.sleep(0.5)
            for name, deaths in later:
                group.create_task(pass_through(admission, name, deaths))

    run_fast(run())
    return order, crowds


async def full() -> Admission:
    """One that has room for one row, which is in."""
    admission = Admission()
    admission.open(1)
    await admission.enter(b"first", 0)
    return admission


def test_rows_that_share_a_prefix_follow_each_other() -> None:
    order, crowds = let_in([("b1", 0), ("a1", 0), ("b2", 0), ("a2", 0), ("c1", 0)], window=2)

    assert order == ["a1", "a2", "b1", "b2", "c1"]
    assert max(crowds) == 2


def test_rows_that_come_later_wait_for_the_generation_before_them() -> None:
    order, _ = let_in([("m", 0), ("z", 0)], later=[("b", 0), ("a", 0)], window=1)

    assert order == ["m", "z", "a", "b"]


def test_suspects_come_last_and_few_at_a_time() -> None:
    rows = [(f"s{number:02d}", 1) for number in range(20)] + [("t1", 2), ("t0", 2), ("z", 0), ("y", 0)]
    order, crowds = let_in(rows, window=64)

    assert order == ["y", "z", *(f"s{number:02d}" for number in range(20)), "t0", "t1"]
    assert crowds[:2] == [1, 2]
    assert max(crowds[2:22]) == 16
    assert crowds[22:] == [1, 1]


def test_rows_that_are_apart_meet_their_own_kind_only() -> None:
    inside: list[str] = []
    met: list[set[str]] = []

    async def pass_through(admission: Admission, kind: str) -> None:
        await admission.enter(b"", 0, apart=kind == "apart")
        inside.append(kind)
        met.append(set(inside))
        await asyncio.sleep(1)
        inside.remove(kind)
        admission.leave()

    async def run() -> None:
        admission = Admission()
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(pass_through(admission, "apart" if number % 3 else "usual"))
                admission.open(8 if number == 10 else 0)
                await asyncio.sleep(0.3)

    run_fast(run())
    assert len(met) == 30
    assert all(len(kinds) == 1 for kinds in met)


def test_a_row_that_gives_up_waiting_takes_no_place() -> None:
    async def run() -> None:
        admission = await full()
        waiting = asyncio.ensure_future(admission.enter(b"second", 1))
        third = asyncio.ensure_future(admission.enter(b"third", 0))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.sleep(0)
        admission.leave()
        await asyncio.wait_for(third, 1)

    run_fast(run())


def test_a_row_cancelled_as_it_is_let_in_gives_its_place_back() -> None:
    async def run() -> None:
        admission = Admission()
        waiting = asyncio.ensure_future(admission.enter(b"first", 0))
        await asyncio.sleep(0)
        admission.open(1)
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.wait_for(admission.enter(b"second", 0), 1)

    run_fast(run())


def test_nobody_is_let_into_a_dead_engine() -> None:
    async def run() -> bool:
        admission = await full()
        waiting = asyncio.ensure_future(admission.enter(b"second", 0))
        await asyncio.sleep(0)
        admission.close()
        admission.leave()
        await asyncio.sleep(1)
        waiting.cancel()
        return waiting.done()

    assert run_fast(run()) is False


@pytest.mark.parametrize(("deaths", "most"), [(0, 100), (1, 50), (2, 25), (3, 16), (9, 16)])
def test_after_engines_that_died_of_no_single_row_fewer_are_let_in(deaths: int, most: int) -> None:
    async def run() -> int:
        admission = Admission(unexplained_deaths=deaths)
        admission.open(100)
        rows = [asyncio.ensure_future(admission.enter(b"", 0)) for _ in range(200)]
        await asyncio.sleep(0)
        return sum(row.done() for row in rows)

    assert run_fast(run()) == most


@pytest.mark.parametrize(("deaths", "rows_before_more"), [(1, 1000), (2, 2000)])
def test_an_engine_that_does_well_gets_twice_as_many_until_it_has_all(deaths: int, rows_before_more: int) -> None:
    most_after: list[int] = []

    async def run() -> None:
        inside = 0

        async def pass_through() -> None:
            nonlocal inside
            await admission.enter(b"", 0)
            inside += 1
            most_after.append(inside)
            await asyncio.sleep(1)
            inside -= 1
            admission.leave()

        admission = Admission(unexplained_deaths=deaths)
        admission.open(100)
        async with asyncio.TaskGroup() as group:
            for _ in range(3 * rows_before_more):
                group.create_task(pass_through())

    run_fast(run())
    fewest = 100 >> deaths
    assert max(most_after[:rows_before_more]) == fewest
    assert max(most_after[rows_before_more + fewest : 2 * rows_before_more]) == 2 * fewest
    assert max(most_after) == 100
