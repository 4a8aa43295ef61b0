"""When rows are asked: those that share a prefix one after another, and at the end of a job the longest first."""

import asyncio
from collections.abc import Sequence
from heapq import heapreplace
from typing import Any

import pytest
from engines import ScriptedEngine, chat, ids, planned_job, request, run_job, run_shards
from fast_loop import run_fast

from batch.jobs.store import JobStore
from batch.rows.request import Request
from pipelines.shards import runner
from pipelines.shards.priority import beginning, rank
from pipelines.shards.runner import ShardRunner

WINDOW = 64


def steps(lengths: Sequence[int]) -> int:
    """How long an engine with so many slots takes that starts the next row of the list in the slot free first."""
    free_at = [0] * WINDOW
    for length in lengths:
        heapreplace(free_at, free_at[0] + length)
    return max(free_at)


def run_once_in_line(job: JobStore, engine: ScriptedEngine, *, rows: int) -> None:
    """Run a job on an engine that comes up when that many rows wait for it, however long they take to read."""

    async def run() -> None:
        async def loading() -> ScriptedEngine:
            while len(only.waiting()) < rows:
                await asyncio.sleep(1)
            return engine

        only = ShardRunner(job, loading(), epoch=1, name="a")
        await run_shards(job, only)

    run_fast(run())


def test_rows_of_all_open_shards_are_asked_in_the_order_of_how_they_begin_and_written_in_their_own() -> None:
    texts = ["red 1", "blue 1", "red 2", "blue 2", "red 3", "blue 3"]
    job = planned_job([chat(text, text) for text in texts], shard_rows=2)
    engine = ScriptedEngine(window=1)

    run_once_in_line(job, engine, rows=len(texts))

    assert engine.asked == sorted(texts)
    assert ids(job) == texts


def test_rows_stand_in_line_before_the_engine_is_up_so_that_its_first_rows_share_a_prefix_too() -> None:
    texts = [f"{color} {number}" for number in range(20) for color in ("red", "blue")]
    job = planned_job([chat(text, text) for text in texts], shard_rows=10)
    engine = ScriptedEngine(window=8)

    run_once_in_line(job, engine, rows=len(texts))

    assert engine.asked == sorted(texts, key=str.encode)
    assert ids(job) == texts


def test_what_stands_before_the_messages_counts_first() -> None:
    def chat_with(tool: str | None, text: str) -> Request:
        tools: dict[str, Any] = {"tools": [tool]} if tool else {}
        return request(messages=[{"role": "user", "content": text}], **tools)

    requests = [chat_with("t2", "a"), chat_with("t1", "b"), chat_with("t1", "a"), chat_with(None, "z")]

    assert sorted(requests, key=beginning) == [requests[2], requests[1], requests[0], requests[3]]
    assert beginning(request(messages=[2**80])).endswith(b"[1208925819614629174706176]]")


def rows_of_two_lengths(count: int) -> dict[str, int]:
    """Most tokens of each row: 32, and 512 of the last tenth."""
    return {f"r{number}": 512 if number >= count - count // 10 else 32 for number in range(count)}


def test_at_the_end_of_a_job_the_longest_rows_are_asked_first() -> None:
    lengths = rows_of_two_lengths(1000)
    job = planned_job([chat(name, name, max_tokens=most) for name, most in lengths.items()], shard_rows=250)
    engine = ScriptedEngine(window=WINDOW, delay_s=lambda request: request.body["max_tokens"] / 5)

    run_once_in_line(job, engine, rows=len(lengths))

    ideal = steps(sorted(lengths.values(), reverse=True))
    assert steps([lengths[name] for name in engine.asked]) <= 1.05 * ideal
    assert steps(list(lengths.values())) >= 1.15 * ideal  # as they stand in the file
    assert ids(job) == list(lengths)


def test_before_the_end_of_a_job_its_rows_are_not_asked_by_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TARGET_OPEN_ROWS", 20)
    texts = [f"{number:03d}" for number in range(60)]
    lines = [chat(text, text, max_tokens=512 if number % 2 else 32) for number, text in enumerate(texts)]
    job = planned_job(lines, shard_rows=20)
    engine = ScriptedEngine(window=1)
    engine._delay_s = lambda _: 100.0 if len(engine.asked) == 1 else 0.1  # the others line up behind the first

    run_job(job, engine)

    before, end = texts[:40], texts[40:]
    by_length = [text for text in end if int(text) % 2] + [text for text in end if not int(text) % 2]
    assert engine.asked[1:] == [text for text in before + by_length if text != engine.asked[0]]


def test_the_fewer_tokens_an_answer_may_have_the_later_it_is_asked() -> None:
    bodies: list[dict[str, Any]] = [
        {},
        {"max_tokens": None, "max_completion_tokens": 512},
        {"max_tokens": 100},
        {"max_output_tokens": 1},
    ]
    for share_prefix in (True, False):
        ranks = [rank(request(**body), at_end=True, share_prefix=share_prefix) for body in bodies]

        assert ranks == sorted(set(ranks))
        assert rank(request(max_tokens=32), at_end=False, share_prefix=share_prefix) == 0 < ranks[0]


def test_rows_that_share_a_prefix_stay_together_where_their_limits_differ_little() -> None:
    few, more = request(max_tokens=1), request(max_tokens=64)

    assert rank(few, at_end=True, share_prefix=True) == rank(more, at_end=True, share_prefix=True)
    assert rank(few, at_end=True, share_prefix=False) > rank(more, at_end=True, share_prefix=False)


def test_of_a_job_whose_rows_have_nothing_in_common_few_steps_are_lost_at_the_end() -> None:
    lengths = {f"{number * 7919 % 1000:03d}": 4 + number * 31 % 29 for number in range(1000)}
    job = planned_job([chat(name, f"{name} " * 80, max_tokens=most) for name, most in lengths.items()])
    engine = ScriptedEngine(window=WINDOW, delay_s=lambda request: request.body["max_tokens"] / 5)

    run_once_in_line(job, engine, rows=len(lengths))

    asked = [lengths[name] for name in engine.asked]
    assert steps(asked) <= 1.03 * sum(asked) / WINDOW
    assert steps(list(lengths.values())) >= 1.06 * sum(asked) / WINDOW  # as they stand in the file
