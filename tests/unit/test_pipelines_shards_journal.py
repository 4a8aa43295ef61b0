"""What survives an engine: its answers, and the memory of the rows it died with."""

import asyncio
from collections import Counter

import pytest
import zstandard
from engines import ScriptedEngine, answered, chat, ids, output, planned_job, row, rows, runner_of, started
from fast_loop import run_fast
from faults import Wrapped

from batch import layout
from batch.jobs.store import JobStore
from batch.planning.shard_rows import read_rows
from batch.records.objects import Crash
from batch.result import Code, Usage
from batch.rows.request import Request
from connectors.datasets.reader import PieceReader
from connectors.errors import Unavailable
from connectors.stores.registry import open_store
from pipelines.engines.base import Answer, EngineDead
from pipelines.shards.journal import KeptAnswer, RowKey, decode_segment, encode_segment, read_past, row_key
from pipelines.shards.runner import ShardRunner

KEPT = [
    KeptAnswer(RowKey(0, 1, "ab"), Answer(200, '{"text": "é\u2028"}'.encode(), Usage(1, 2, 3))),
    KeptAnswer(RowKey(7, 2, "cd"), Answer(400, b"{}", Usage(), Code.PROMPT_TOO_LONG)),
    KeptAnswer(RowKey(7, 3, "ef"), Answer(200, b"{}", Usage(), is_copy=True)),
]


class NoJournal(Wrapped):
    """A store that takes no segment of a journal while it `is_away`."""

    is_away = True

    def create(self, key: str, content: bytes) -> bool:
        if self.is_away and key.startswith(layout.JOURNAL_PREFIX):
            raise Unavailable(key)
        return super().create(key, content)


def live_until_done(job: JobStore, engine: ScriptedEngine, *, most_starts: int) -> int:
    """Start an engine again each time it dies, as Ray restarts an actor; return how often it was started."""

    async def live(start: int) -> bool:
        replica = ShardRunner(job, started(engine), epoch=1, name=f"engine-{start}", past=read_past(job))
        plan = job.plan()
        assert plan is not None
        shards = [asyncio.ensure_future(replica.run(shard.index)) for shard in plan.shards]
        done, rest = await asyncio.wait(shards, return_when=asyncio.FIRST_EXCEPTION)
        has_died = any(isinstance(shard.exception(), BaseExceptionGroup) for shard in done)
        if has_died:
            await replica.record_death()
        for shard in rest:  # the process of a dead engine ends, whatever its other shards do
            shard.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        return not has_died

    for start in range(1, most_starts + 1):
        if run_fast(live(start)):
            return start
    pytest.fail(f"not done after {most_starts} engine starts")


def poisoned(*poison: str) -> ScriptedEngine:
    def script(request: Request, _: int) -> Answer:
        if request.custom_id in poison:
            raise EngineDead("poison")
        return answered(request)

    return ScriptedEngine(script, window=64, delay_s=lambda request: 0.1 + int(request.custom_id[1:]) % 7)


def test_a_segment_comes_back() -> None:
    assert decode_segment(encode_segment(KEPT)) == KEPT


@pytest.mark.parametrize("end", [0, 10, -3, -1])
def test_a_torn_segment_holds_nothing(end: int) -> None:
    assert decode_segment(encode_segment(KEPT)[:end]) == []


def test_a_segment_that_lost_an_answer_holds_nothing() -> None:
    first, *_, trailer = zstandard.decompress(encode_segment(KEPT)).splitlines()
    assert decode_segment(zstandard.compress(b"\n".join([first, trailer, b""]))) == []


def test_answers_of_a_dead_engine_are_not_asked_again() -> None:
    job = planned_job(rows(100), shard_rows=25)
    engine = ScriptedEngine(window=8, delay_s=lambda _: 1.0)

    def die_once(request: Request, times: int) -> Answer:
        if request.custom_id == "r60" and times == 1:
            raise EngineDead("once")
        return answered(request)

    engine._script = die_once

    assert live_until_done(job, engine, most_starts=2) == 2
    repeated = {custom_id for custom_id, times in Counter(engine.asked).items() if times > 1}
    assert "r60" in repeated
    assert len(repeated) <= 8  # what was in flight
    assert sorted(ids(job), key=lambda name: int(str(name)[1:])) == [f"r{number}" for number in range(100)]


def test_answers_that_the_store_did_not_take_are_kept_by_the_next_try() -> None:
    job = planned_job(rows(3))
    store = NoJournal(open_store(job.uri))
    engine = ScriptedEngine(delay_s=lambda request: 1e6 if request.custom_id == "r2" else 1.0)

    async def run() -> None:
        replica = runner_of(JobStore(store), engine)
        running = asyncio.ensure_future(replica.run(0))
        await asyncio.sleep(5)
        with pytest.raises(Unavailable):
            await replica.keep_answers()
        store.is_away = False
        await replica.keep_answers()
        await replica.keep_answers()
        running.cancel()

    run_fast(run())

    (segment,) = job.journal()
    assert [kept.row.number for kept in decode_segment(segment)] == [1, 2]


def test_a_line_that_changed_is_asked_again() -> None:
    job = planned_job([row("a")])
    key = RowKey(0, 1, "0" * 16)
    job.keep_answers(1, "old", 0, encode_segment([KeptAnswer(key, Answer(200, b'{"stale": true}', Usage()))]))
    engine = ScriptedEngine()
    live_until_done(job, engine, most_starts=1)
    assert engine.asked == ["a"]


def test_an_answer_of_several_lines_in_an_old_journal_is_one_line_of_the_output() -> None:
    job = planned_job([row("a")])
    plan = job.plan()
    assert plan is not None
    (asked,) = read_rows(plan, plan.shards[0], PieceReader(max_line_bytes=1000))
    job.keep_answers(
        1, "old", 0, encode_segment([KeptAnswer(row_key(0, asked), Answer(200, b'{\n  "kept": true\n}', Usage()))])
    )
    engine = ScriptedEngine()

    live_until_done(job, engine, most_starts=1)

    assert engine.asked == []
    assert [line["response"]["body"] for line in output(job)] == [{"kept": True}]


def test_one_poison_row_among_500_is_set_aside_after_three_kills() -> None:
    job = planned_job(rows(500), shard_rows=100)
    engine = poisoned("r333")

    assert live_until_done(job, engine, most_starts=10) == 4
    assert len(output(job)) == 499
    (failure,) = output(job, "errors")
    assert (failure["custom_id"], failure["error"]["code"]) == ("r333", "engine_crash")
    assert Counter(engine.asked)["r333"] == 3
    assert max(Counter(engine.asked).values()) == 3


def test_two_poison_rows_are_both_found_and_no_good_row_is_blamed() -> None:
    job = planned_job(rows(200), shard_rows=50)
    engine = poisoned("r10", "r11")

    live_until_done(job, engine, most_starts=10)

    assert {line["custom_id"] for line in output(job, "errors")} == {"r10", "r11"}
    assert len(output(job)) == 198


@pytest.mark.parametrize(("is_deduplicated", "starts"), [(True, 4), (False, 10)])
def test_copies_of_a_poison_row_share_its_blame_as_they_would_share_its_answer(
    is_deduplicated: bool, starts: int
) -> None:
    lines = [chat(f"r{number}", f"{number % 97} + 1?", temperature=0) for number in range(300)]
    job = planned_job(lines, shard_rows=50, deduplicate=is_deduplicated)
    copies = {f"r{number}" for number in range(5, 300, 97)}

    assert live_until_done(job, poisoned(*copies), most_starts=10) <= starts
    assert {line["custom_id"] for line in output(job, "errors")} == copies
    assert {line["error"]["code"] for line in output(job, "errors")} == {"engine_crash"}
    assert len(output(job)) == 300 - len(copies)


def test_an_engine_that_dies_of_too_many_rows_at_once_gets_fewer_and_no_row_is_blamed() -> None:
    job = planned_job(rows(3000), shard_rows=500)
    engine = ScriptedEngine(window=256, delay_s=lambda request: 1.0 + int(request.custom_id[1:]) % 3)

    def out_of_memory(request: Request, _: int) -> Answer:
        if engine.in_flight > 100:
            raise EngineDead("out of memory")
        return answered(request)

    engine._script = out_of_memory

    assert live_until_done(job, engine, most_starts=10) <= 4
    assert ids(job) == [f"r{number}" for number in range(3000)]
    assert output(job, "errors") == []


def test_deaths_that_a_row_explains_make_no_engine_smaller() -> None:
    job = planned_job(rows(3))
    for number, found in enumerate(["0:1", "0:1", "0:1", "0:2"]):
        job.record_crash(Crash(1, f"engine-{number}", (found, "0:3") if number == 0 else (found,)))

    assert read_past(job).unexplained_deaths == 1


def test_a_row_past_its_time_limit_ends_as_timeout() -> None:
    job = planned_job([row("r1"), row("r500")], row_timeout_s=60.0)
    engine = ScriptedEngine(delay_s=lambda request: float(request.custom_id[1:]))
    live_until_done(job, engine, most_starts=1)
    (failure,) = output(job, "errors")
    assert (failure["custom_id"], failure["error"]["code"], failure["response"]["status_code"]) == (
        "r500",
        "timeout",
        504,
    )
    assert ids(job) == ["r1"]
