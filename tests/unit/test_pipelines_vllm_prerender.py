"""Prompts that are made while the engine loads: of which rows, until when, and how many."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from transformers import AutoTokenizer
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.run_batch import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

from batch.rows.request import CHAT, COMPLETIONS, Request
from pipelines.engines.vllm.prerender import MAX_TOKENS_AHEAD, PromptsAhead
from pipelines.models import ARITHMETIC_MODEL

TOOLS = [{"type": "function", "function": {"name": "add"}}]


def chat(text: object, *, endpoint: str = CHAT, **fields: object) -> Request:
    return Request("row", endpoint, {"model": "m", "messages": [{"role": "user", "content": text}]} | fields)


@pytest.fixture(scope="module")
def engine() -> tuple[Any, Any]:
    """An engine's configuration and arguments, without the engine."""
    parser = make_arg_parser(FlexibleArgumentParser())
    arguments = parser.parse_args(["-i", "none", "-o", "none", "--model", str(ARITHMETIC_MODEL), "--enforce-eager"])
    return AsyncEngineArgs.from_cli_args(arguments).create_engine_config(), arguments


def made(engine: tuple[Any, Any], *waves: Sequence[Request], max_tokens: int = MAX_TOKENS_AHEAD) -> list[Any]:
    """Return what is made of requests of which a wave comes each half second; then the engine is up."""

    async def run() -> list[Any]:
        ahead = PromptsAhead(*engine, max_tokens)
        waiting: list[Request] = []
        loading: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        making = asyncio.ensure_future(ahead.make(lambda: waiting, until=loading))
        for wave in waves:
            waiting.extend(wave)
            await asyncio.sleep(0.5)
        loading.set_result(None)
        await making
        return [ahead.take(request.body) for wave in waves for request in wave]

    return asyncio.run(run())


def test_a_prompt_is_what_the_models_own_tokenizer_makes_of_the_chat(engine: tuple[Any, Any]) -> None:
    request = chat("What is 12 + 30?")
    tokenizer = AutoTokenizer.from_pretrained(ARITHMETIC_MODEL)
    expected = tokenizer.apply_chat_template(
        request.body["messages"], add_generation_prompt=True, tokenize=True, return_dict=False
    )

    (prompt,) = made(engine, [request])

    assert prompt.tokens.tolist() == expected


def test_rows_that_come_later_have_their_prompts_too(engine: tuple[Any, Any]) -> None:
    assert None not in made(engine, [chat("1 + 1")], [chat("2 + 2"), chat("3 + 3")])


@pytest.mark.parametrize(
    "other",
    [
        chat("1 + 1", endpoint=COMPLETIONS),
        chat("1 + 1", tools=TOOLS),
        chat([{"type": "text", "text": "1 + 1"}]),
        chat("1 + 1", temperature="hot"),
    ],
    ids=["no chat", "tools", "parts", "refused"],
)
def test_other_rows_have_none_and_keep_nobody_from_theirs(engine: tuple[Any, Any], other: Request) -> None:
    none, some = made(engine, [other, chat("1 + 1")])

    assert none is None
    assert some is not None


def test_what_is_taken_is_forgotten_and_an_equal_body_has_none(engine: tuple[Any, Any]) -> None:
    request = chat("1 + 1")

    assert made(engine, [request], [request])[1] is None
    assert made(engine, [request])[0] is not None
    assert PromptsAhead(*engine).take(dict(request.body)) is None


def test_no_more_prompts_are_kept_than_there_is_room_for(engine: tuple[Any, Any]) -> None:
    requests = [chat(f"What is {number} + 30?") for number in range(10, 90)]
    (one,) = made(engine, requests[:1])

    prompts = made(engine, requests, max_tokens=10 * len(one.tokens))

    assert [prompt is not None for prompt in prompts] == [True] * 10 + [False] * 70


def test_nothing_is_made_once_the_engine_is_up(engine: tuple[Any, Any]) -> None:
    async def run() -> Any:
        ahead, request = PromptsAhead(*engine), chat("1 + 1")
        up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        up.set_result(None)
        await ahead.make(lambda: [request], until=up)
        return ahead.take(request.body)

    assert asyncio.run(run()) is None
