"""Equal requests are asked once, where the answer is determined; each row gets it under its own name."""

import asyncio
from typing import Any

import orjson
import pytest
from engines import ScriptedEngine, answered, chat, ids, output, planned_job, refused, request, run_job
from fast_loop import run_fast

from batch.result import Code, Usage
from batch.rows.request import Request
from pipelines.engines.base import Answer
from pipelines.shards.dedup import ENTRY_BYTES, SharedAnswers, request_key


def test_rows_that_ask_the_same_are_answered_once_across_shards() -> None:
    job = planned_job([chat(f"r{row}", f"{row % 3} + 1?", temperature=0) for row in range(30)], shard_rows=7)
    engine = ScriptedEngine(window=4, delay_s=lambda _: 0.1)

    commits = run_job(job, engine)

    assert len(engine.asked) == 3
    assert ids(job) == [f"r{row}" for row in range(30)]
    answers = [orjson.dumps(line["response"]["body"]) for line in output(job)]
    assert answers == answers[:3] * 10
    assert len(set(answers)) == 3
    assert sum(commit.copied for commit in commits) == 27
    assert sum((commit.usage for commit in commits), Usage()) == Usage(6, 3)


def test_a_job_may_ask_for_every_row_to_be_asked() -> None:
    job = planned_job([chat(f"r{row}", temperature=0) for row in range(5)], deduplicate=False)
    engine = ScriptedEngine()

    (commit,) = run_job(job, engine)

    assert len(engine.asked) == 5
    assert commit.copied == 0


@pytest.mark.parametrize("parameters", [{}, {"temperature": 0.7}, {"temperature": None}, {"seed": None}])
def test_a_sampled_request_has_no_key(parameters: dict[str, Any]) -> None:
    assert request_key(request(prompt="x", **parameters)) is None


@pytest.mark.parametrize("parameters", [{"temperature": 0}, {"temperature": 0.0}, {"temperature": 1, "seed": 7}])
def test_a_determined_request_has_the_key_of_its_equals(parameters: dict[str, Any]) -> None:
    key = request_key(request("a", prompt="x", max_tokens=4, **parameters))

    assert key is not None
    assert key == request_key(request("b", max_tokens=4, prompt="x", **parameters))


@pytest.mark.parametrize(
    "other",
    [
        request(prompt="y", temperature=0),
        request(prompt="x", temperature=0, max_tokens=9),
        request(prompt="x", temperature=0, model="adapter"),
        request(prompt="x", temperature=0, structured_outputs={"choice": ["a"]}),
        request(endpoint="/v1/completions", prompt="x", temperature=0),
    ],
)
def test_whatever_can_change_the_answer_changes_the_key(other: Request) -> None:
    assert request_key(other) not in (None, request_key(request(prompt="x", temperature=0)))


def test_an_embedding_is_determined_without_a_temperature() -> None:
    assert request_key(request(endpoint="/v1/embeddings", input="x")) is not None


def test_a_number_beyond_64_bits_is_told_apart_from_its_neighbour() -> None:
    keys = {request_key(request(prompt="x", temperature=0, top_k=number)) for number in (2**80, 2**80 + 1)}

    assert len(keys) == 2
    assert None not in keys


def test_an_error_of_the_server_is_not_shared_and_a_refusal_is() -> None:
    script = {"crash": refused(500, Code.INTERNAL), "refuse": refused(400, Code.INVALID_PARAMETER)}
    asked: list[str] = []

    async def ask(request: Request) -> Answer:
        asked.append(request.custom_id)
        await asyncio.sleep(0.1)
        return script[request.body["prompt"]]

    async def run() -> list[Answer]:
        shared = SharedAnswers()
        requests = [request(f"{kind}{n}", prompt=kind, temperature=0) for kind in script for n in range(3)]
        return list(await asyncio.gather(*(shared.answer(each, ask) for each in requests)))

    answers = run_fast(run())

    assert sorted(asked) == ["crash0", "crash1", "crash2", "refuse0"]
    assert [answer.is_copy for answer in answers] == [False, False, False, False, True, True]
    assert [answer.code for answer in answers] == [Code.INTERNAL] * 3 + [Code.INVALID_PARAMETER] * 3


def test_when_the_one_that_asks_is_cancelled_one_that_waits_asks() -> None:
    asked: list[str] = []

    async def ask(request: Request) -> Answer:
        asked.append(request.custom_id)
        await asyncio.sleep(1)
        return answered(request)

    async def run() -> Answer:
        shared = SharedAnswers()
        first = asyncio.ensure_future(shared.answer(request("a", prompt="x", temperature=0), ask))
        second = asyncio.ensure_future(shared.answer(request("b", prompt="x", temperature=0), ask))
        await asyncio.sleep(0.5)
        first.cancel()
        return await second

    assert run_fast(run()) == answered(request("b"))
    assert asked == ["a", "b"]


def test_the_oldest_answers_make_room() -> None:
    asked: list[str] = []

    async def ask(request: Request) -> Answer:
        asked.append(request.custom_id)
        return Answer(200, b"x" * 10, Usage(1, 1))

    async def run() -> None:
        shared = SharedAnswers(max_bytes=2 * (10 + ENTRY_BYTES))
        for prompt in ("a", "b", "a", "c", "a", "b"):
            await shared.answer(request(prompt, prompt=prompt, temperature=0), ask)

    run_fast(run())
    assert asked == ["a", "b", "c", "b"]
