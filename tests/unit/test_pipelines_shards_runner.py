"""One replica on a stand-in engine and a real job store: what becomes of every line of a shard."""

import asyncio
import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from engines import (
    ScriptedEngine,
    answered,
    dies,
    ids,
    output,
    planned_job,
    refused,
    row,
    rows,
    run_job,
    run_shards,
    runner_of,
)
from fast_loop import run_fast

from batch.errors import JobFailed
from batch.jobs.store import JobStore
from batch.layout import PartKind
from batch.records.objects import Commit, EngineReport, Part, Stop, StopState, Tally
from batch.result import Code, Usage
from batch.rows.request import Request
from connectors.stores.registry import open_store
from pipelines.engines.base import Answer, Engine, EngineDead
from pipelines.engines.echo import EchoEngine
from pipelines.shards.runner import ShardRunner

PART_KINDS: tuple[PartKind, ...] = ("results", "errors")
CANCEL = Stop(StopState.CANCELLED, "enough", "2026-01-31T12:00:00.000000Z")


@pytest.mark.parametrize("place", ["memory", "local"])
def test_results_keep_the_input_order_whatever_the_engine_ends_first(place: str, tmp_path: Path) -> None:
    job = planned_job(rows(20), root=str(tmp_path) if place == "local" else None, shard_rows=8)
    engine = ScriptedEngine(window=20, delay_s=lambda request: 2.0 - int(request.custom_id[1:]) / 10)

    run_job(job, engine)

    assert ids(job) == [f"r{number}" for number in range(20)]
    assert sorted(engine.asked) == sorted(f"r{number}" for number in range(20))


def test_the_echo_engine_answers_with_the_prompt(tmp_path: Path) -> None:
    job = planned_job([row("a", "one two three"), {"prompt": "bare"}], root=str(tmp_path))

    (commit,) = run_job(job, EchoEngine())

    chat, bare = output(job)
    assert chat["response"]["body"]["choices"][0]["message"]["content"] == "one two three"
    assert bare["response"]["body"]["choices"][0]["text"] == "bare"
    assert (commit.succeeded, commit.failed, commit.usage) == (2, 0, Usage(4, 4))


def test_blank_bad_and_duplicate_lines_never_reach_the_engine() -> None:
    lines = [b"", row("a"), b"{broken \x1b[31m", b"  \t ", b"\xff\xfe", row("a", "again"), b"[1]", row("b"), b""]
    job = planned_job(lines)
    engine = ScriptedEngine()

    (commit,) = run_job(job, engine)

    assert engine.asked == ["a", "b"]
    assert ids(job) == ["a", "b"]
    errors = [line["error"] for line in output(job, "errors")]
    assert [(error["line"], error["code"]) for error in errors] == [
        (3, "malformed_json"),
        (5, "invalid_utf8"),
        (6, "duplicate_custom_id"),
        (7, "not_an_object"),
    ]
    assert errors[0]["raw"] == "{broken \x1b[31m"
    assert errors[0]["offset"] == 1 + len(orjson.dumps(row("a"))) + 1
    assert base64.b64decode(errors[1]["raw_base64"]) == b"\xff\xfe"
    assert commit.failed_by_code == {
        "malformed_json": 1,
        "invalid_utf8": 1,
        "duplicate_custom_id": 1,
        "not_an_object": 1,
    }


def test_the_window_bounds_what_is_in_flight_and_spans_shards() -> None:
    job = planned_job(rows(40), shard_rows=5)
    engine = ScriptedEngine(window=7, delay_s=lambda _: 1.0)

    run_job(job, engine)

    assert engine.most_in_flight == 7  # more than a shard holds: the next shard fills the window up
    assert engine.asked == [f"r{number}" for number in range(40)]


def test_rows_that_are_read_while_an_engine_starts_come_to_it_in_order_from_the_first_on() -> None:
    job = planned_job([row(f"{n}", f"{'ab'[n % 2]} " * 300 + str(n)) for n in range(600)])
    plan = job.plan()
    assert plan is not None
    assert len(plan.shards) > 1
    engine = ScriptedEngine(window=1)

    async def in_real_time() -> list[Commit]:  # the two seconds that an engine waits must outlast threads that read
        return await run_shards(job, runner_of(job, engine))

    asyncio.run(in_real_time())

    subjects = [int(custom_id) % 2 for custom_id in engine.asked]
    assert subjects in (sorted(subjects), sorted(subjects, reverse=True))


def test_a_committed_shard_is_not_answered_again() -> None:
    job = planned_job(rows(4), shard_rows=2)
    first = run_job(job, ScriptedEngine(), epoch=1)
    again = ScriptedEngine()

    second = run_job(job, again, epoch=2)

    assert again.asked == []
    assert second == first


def test_a_commit_that_another_attempt_made_meanwhile_stands() -> None:
    job = planned_job(rows(1))
    other: list[Commit] = []

    class Overtaken(ScriptedEngine):
        async def answer(self, request: Request) -> Answer:
            if not other:
                other.extend(await run_shards(job, runner_of(job, EchoEngine(), epoch=2)))
            return await super().answer(request)

    (commit,) = run_job(job, Overtaken())

    assert [commit] == other
    assert commit.epoch == 2
    assert "choices" in output(job)[0]["response"]["body"]
    assert [found.key for found in open_store(job.uri).list("results/")] == [part.key for part in job.parts("results")]


def test_a_writer_that_is_overtaken_after_it_has_looked_takes_its_parts_away() -> None:
    job = planned_job([*rows(2), b"not json"])
    other: list[Commit] = []

    class Asleep(JobStore):
        def write_part(self, *names: Any, **content: Any) -> Part:
            if not other:
                other.extend(run_job(job, EchoEngine(), epoch=2))
            return super().write_part(*names, **content)

    (commit,) = run_job(Asleep(open_store(job.uri)), ScriptedEngine())

    assert [commit] == other
    for kind in PART_KINDS:
        assert [found.key for found in open_store(job.uri).list(f"{kind}/")] == [part.key for part in job.parts(kind)]


@pytest.mark.parametrize(
    ("state", "code"),
    [(StopState.CANCELLED, "cancelled"), (StopState.EXPIRED, "expired"), (StopState.FAILED, "cancelled")],
)
def test_a_stop_keeps_finished_rows_and_gives_the_rest_its_code(state: StopState, code: str) -> None:
    job = planned_job([*rows(6), b"not json"], shard_rows=4)
    engine = ScriptedEngine(window=2, delay_s=lambda request: 1.0 if request.custom_id in ("r0", "r1") else 3600.0)

    async def run() -> list[Commit]:
        replica = runner_of(job, engine)
        running = asyncio.ensure_future(run_shards(job, replica))
        while len(engine.asked) < 4:
            await asyncio.sleep(0.1)
        replica.stop(Stop(state, "", CANCEL.at))
        return await running

    commits = run_fast(run())

    assert ids(job) == ["r0", "r1"]
    assert [(line["custom_id"], line["error"]["code"]) for line in output(job, "errors")] == [
        *((f"r{number}", code) for number in range(2, 6)),
        (None, "malformed_json"),
    ]
    assert engine.asked == ["r0", "r1", "r2", "r3"]
    assert sum(commit.failed_by_code.get(code, 0) for commit in commits) == 4


def test_a_stop_before_the_engine_is_up_ends_every_row() -> None:
    job = planned_job(rows(5), shard_rows=2)

    async def never() -> Engine:
        await asyncio.sleep(1e6)
        raise AssertionError("unreachable")

    async def run() -> list[Commit]:
        replica = ShardRunner(job, never(), epoch=1, name="a")
        running = asyncio.ensure_future(run_shards(job, replica))
        await asyncio.sleep(5)
        assert replica.report().phase == "starting engine"
        replica.stop(CANCEL)
        commits = await running
        assert replica.engine_identity() == ("echo", "", {})
        return commits

    commits = run_fast(run())

    assert [commit.failed_by_code for commit in commits] == [{"cancelled": 2}, {"cancelled": 2}, {"cancelled": 1}]


def test_a_stop_in_the_very_step_that_admits_rows_leaves_none_without_a_result() -> None:
    job = planned_job(rows(6))
    replicas: list[ShardRunner] = []

    class Stopping(ScriptedEngine):
        async def answer(self, request: Request) -> Answer:
            replicas[0].stop(CANCEL)  # the rows after the first are admitted, and have not run a step
            return await super().answer(request)

    async def run() -> list[Commit]:
        replicas.append(runner_of(job, Stopping(window=6)))
        return await run_shards(job, replicas[0])

    (commit,) = run_fast(run())

    assert commit.failed_by_code == {"cancelled": 6}


def test_only_the_first_stop_counts() -> None:
    job = planned_job(rows(1))

    async def run() -> list[Commit]:
        replica = runner_of(job, ScriptedEngine())
        replica.stop(CANCEL)
        replica.stop(Stop(StopState.EXPIRED, "", CANCEL.at))
        return await run_shards(job, replica)

    assert run_fast(run())[0].failed_by_code == {"cancelled": 1}


def test_an_engine_that_cannot_start_fails_the_shard_with_its_sentence() -> None:
    job = planned_job(rows(1))

    async def broken() -> Engine:
        raise JobFailed("no such model")

    async def run() -> None:
        replica = ShardRunner(job, broken(), epoch=1, name="a")
        with pytest.raises(JobFailed, match="no such model"):
            await replica.run(0)
        assert replica.report().phase == "starting engine"

    run_fast(run())
    assert job.committed_shards() == set()


def test_a_dead_engine_raises_and_commits_nothing() -> None:
    job = planned_job(rows(9))

    with pytest.raises(ExceptionGroup) as raised:
        run_job(job, ScriptedEngine(dies))

    assert raised.value.split(EngineDead)[1] is None
    assert job.committed_shards() == set()
    assert run_job(job, ScriptedEngine(), epoch=2)[0].succeeded == 9


def test_a_passing_server_error_is_asked_again() -> None:
    def passing(request: Request, times: int) -> Answer:
        return answered(request) if times == 3 else refused(503, Code.INTERNAL)

    engine = ScriptedEngine(passing)
    job = planned_job(rows(1))

    (commit,) = run_job(job, engine)

    assert commit.succeeded == 1
    assert engine.asked == ["r0"] * 3


def test_a_lasting_server_error_fails_the_row_with_what_the_server_said() -> None:
    engine = ScriptedEngine(lambda *_: refused(500, Code.INTERNAL, b'{"error": {"message": "out of order"}}'))
    job = planned_job(rows(1))

    run_job(job, engine)

    (line,) = output(job, "errors")
    assert engine.asked == ["r0"] * 3
    assert line["error"]["code"] == "internal"
    assert line["error"]["message"] == "out of order"
    assert line["response"]["status_code"] == 500
    assert line["response"]["body"] == {"error": {"message": "out of order"}}


def test_a_refused_row_is_asked_once() -> None:
    engine = ScriptedEngine(lambda *_: refused(400, Code.PROMPT_TOO_LONG))
    job = planned_job(rows(1))

    (commit,) = run_job(job, engine)

    assert commit.failed_by_code == {"prompt_too_long": 1}
    assert engine.asked == ["r0"]


@pytest.mark.parametrize("body", [b"[]", b"1", b'"no"', b"null", b'{"error": null}', b'{"detail": "Not Found"}'])
def test_an_error_of_an_unknown_shape_fails_its_row_only(body: bytes) -> None:
    def script(request: Request, times: int) -> Answer:
        return refused(400, Code.INVALID_PARAMETER, body) if request.custom_id == "r0" else answered(request)

    job = planned_job(rows(2))

    (commit,) = run_job(job, ScriptedEngine(script))

    assert (commit.succeeded, commit.failed) == (1, 1)
    (line,) = output(job, "errors")
    assert line["response"]["body"] == orjson.loads(body)
    assert line["error"]["message"]


def test_carried_fields_stand_in_results_and_errors() -> None:
    lines = [{"q": "1 + 1?", "level": 1}, {"level": 2}, {"q": "", "level": None}]
    job = planned_job(lines, prompt_template="{q}", carry=("level",))

    run_job(job, ScriptedEngine())

    assert [line["metadata"] for line in output(job)] == [{"level": 1}, {"level": None}]
    assert [line["metadata"] for line in output(job, "errors")] == [{"level": 2}]


def test_a_job_without_a_plan_is_refused() -> None:
    job = planned_job(rows(1))
    open_store(job.uri).delete("_job/plan.json")

    async def run() -> None:
        with pytest.raises(ValueError, match="no plan"):
            ShardRunner(JobStore.open(job.uri), asyncio.Future(), epoch=1, name="a")

    run_fast(run())


def test_the_report_counts_rows_of_shards_without_a_commit() -> None:
    job = planned_job([b"not json", *rows(3)])
    reports: list[EngineReport] = []
    replicas: list[ShardRunner] = []

    class Reporting(ScriptedEngine):
        async def answer(self, request: Request) -> Answer:
            reports.append(replicas[0].report())
            return await super().answer(request)

    async def run() -> None:
        replica = runner_of(job, Reporting(window=1))
        replicas.append(replica)
        reports.append(replica.report())
        await run_shards(job, replica)
        reports.append(replica.report())
        assert replica.engine_identity() == ("scripted", "7", {"window": 1})

    run_fast(run())

    assert [report.phase for report in reports] == ["starting engine", *["running"] * 4]
    assert [report.open for report in reports] == [
        {},
        {"0": Tally(0, 1)},
        {"0": Tally(1, 1, 2, 1)},
        {"0": Tally(2, 1, 4, 2)},
        {},
    ]


@pytest.mark.parametrize(
    "script", [lambda *_: refused(400, Code.INVALID_PARAMETER), lambda request, _: answered(request)]
)
def test_every_line_ends_in_exactly_one_place(script: Callable[[Request, int], Answer]) -> None:
    lines = [*rows(30), b"", b"{", b"", b"null", row("r3"), b"\xff"]
    job = planned_job(lines, shard_rows=7)

    commits = run_job(job, ScriptedEngine(script, window=3))

    plan = job.plan()
    assert plan is not None
    assert sum(commit.succeeded + commit.failed for commit in commits) == plan.rows == len(lines) - plan.blank
    numbers = [line["error"]["line"] for line in output(job, "errors")]
    assert numbers == sorted(set(numbers))
    assert len(output(job)) + len(numbers) == plan.rows
