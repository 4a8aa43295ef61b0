"""Rows that an engine does not finish, where the job sets no limit. The tests say what time it is."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from engines import ScriptedEngine, ids, output, planned_job, row, run_shards, runner_of
from fast_loop import run_fast

from batch.jobs.store import JobStore
from batch.records.objects import Stop, StopState
from pipelines.shards.row_timeout import LONGEST_STEP_S, Patience
from pipelines.shards.runner import ShardRunner

FOR_EVER_S = 1e9


def patience(*, until_s: int) -> Patience:
    made = Patience()
    for now_s in range(until_s + 1):
        made.look(now_s)
    return made


def go_on(made: Patience, seconds: int) -> None:
    begin_s = made.clock_s
    for now_s in range(seconds + 1):
        made.look(begin_s + now_s)


def test_before_the_first_answer_there_is_no_limit() -> None:
    assert not patience(until_s=100_000).is_over(0)


def test_time_before_the_first_answer_does_not_count() -> None:
    made = patience(until_s=50)
    made.answered(since_s=45)

    go_on(made, 600)
    assert not made.is_over(0)
    go_on(made, 1)
    assert made.is_over(0)
    assert not made.is_over(51)


def test_the_limit_is_ten_times_the_slowest_answered_row() -> None:
    made = patience(until_s=200)
    made.answered(since_s=100)
    made.answered(since_s=190)

    assert made.limit_s == 1000
    go_on(made, 1000)
    assert not made.is_over(200)
    go_on(made, 1)
    assert made.is_over(200)


def test_a_process_that_was_stopped_made_no_row_wait() -> None:
    made = patience(until_s=5)
    made.answered(since_s=0)
    made.look(5 + 3600)

    assert made.clock_s == 5 + LONGEST_STEP_S
    assert not made.is_over(0)


def hanging() -> ScriptedEngine:
    """Never answers the rows h1, h2..., others at once."""
    return ScriptedEngine(delay_s=lambda asked: FOR_EVER_S if asked.custom_id[0] == "h" else 0.0, window=2)


def run_watched(
    job: JobStore, engine: ScriptedEngine, *, looks: int, then: Callable[[ShardRunner], None] = lambda _: None
) -> None:
    """Run the job while a clock of the test goes on for so many seconds, with a look at each; `then` do something."""

    async def run() -> None:
        replica = runner_of(job, engine)
        running = asyncio.ensure_future(run_shards(job, replica))
        await asyncio.sleep(5)  # what can be answered is
        for now_s in range(looks):
            replica.end_overdue(now_s)
        then(replica)
        await asyncio.wait_for(running, 60)

    run_fast(run())


def stop(replica: ShardRunner) -> None:
    replica.stop(Stop(StopState.CANCELLED, "enough", "2026-01-01T00:00:00Z"))


def codes(job: JobStore) -> dict[str, str]:
    return {line["custom_id"]: line["error"]["code"] for line in output(job, "errors")}


def test_a_row_that_never_ends_is_ended_and_frees_its_place() -> None:
    job, engine = planned_job([row("r1"), row("h1"), row("h2"), row("r2")]), hanging()
    run_watched(job, engine, looks=602)

    assert codes(job) == {"h1": "timeout", "h2": "timeout"}
    assert ids(job) == ["r1", "r2"]
    assert engine.in_flight == 0
    failure = output(job, "errors")[0]
    assert failure["response"]["status_code"] == 504
    assert failure["error"]["message"] == (
        "no answer within 600 s, ten times as long as any answered row took and at least 10 minutes; "
        "--row-timeout sets another limit"
    )


@pytest.mark.parametrize(
    ("lines", "settings"),
    [
        ([row("h1")], {}),  # no answer yet
        ([row("r1"), row("h1")], {"row_timeout_s": 1e6}),
        ([row("r1"), row("h1")], {"engine": "openai", "engine_args": {"base_url": "http://127.0.0.1:1/v1"}}),
    ],
    ids=["before the first answer", "with a limit of the job", "with a limit of the engine"],
)
def test_a_row_is_left_to_the_engine(lines: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    job = planned_job(lines, **settings)
    run_watched(job, hanging(), looks=10_000, then=stop)
    assert codes(job) == {"h1": "cancelled"}


def test_a_stop_at_the_same_moment_ends_the_row() -> None:
    job = planned_job([row("r1"), row("h1")])
    run_watched(job, hanging(), looks=602, then=stop)
    assert codes(job) == {"h1": "cancelled"}
