"""The engine that answers with the end of the prompt."""

import asyncio
import time

import orjson
import pytest

from batch.result import Usage
from batch.rows.request import Request
from batch.spec.engine_config import EngineConfig
from pipelines.engines.base import Answer
from pipelines.engines.echo import EchoEngine, prompt_text
from pipelines.engines.registry import start_engine
from pipelines.processes.sizing import Machine

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


def answer(endpoint: str, **body: object) -> Answer:
    return asyncio.run(EchoEngine().answer(Request("a", endpoint, {"model": "m", **body})))


def test_a_chat_is_answered_with_its_last_message() -> None:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "one two"}]

    answered = answer(CHAT, messages=messages)

    body = orjson.loads(answered.body)
    assert answered.status_code == 200
    assert answered.code is None
    assert answered.usage == Usage(2, 2)
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "one two"}
    assert (body["model"], body["object"], body["usage"]["total_tokens"]) == ("m", "chat.completion", 4)


def test_a_long_prompt_is_answered_with_its_end() -> None:
    body = orjson.loads(answer(COMPLETIONS, prompt="x" * 100 + "end").body)

    assert body["object"] == "text_completion"
    assert body["choices"][0]["text"] == ("x" * 100 + "end")[-64:]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"messages": []}, ""),
        ({"messages": [{"content": [{"type": "text", "text": "a"}]}]}, '[{"type":"text","text":"a"}]'),
        ({"input": ["a", "b"]}, '["a","b"]'),
        ({}, ""),
    ],
)
def test_any_body_has_a_text(body: dict[str, object], text: str) -> None:
    assert prompt_text(body) == text


def test_equal_requests_get_equal_bytes() -> None:
    assert answer(CHAT, messages=[]).body == answer(CHAT, messages=[]).body


def test_the_delay_comes_from_the_engine_arguments() -> None:
    async def run() -> float:
        engine = await start_engine(
            EngineConfig("echo", "m", engine_args={"delay_s": 0.05}), Machine((0,), 0), rows=1, waiting=list
        )
        began_s = time.monotonic()
        await engine.answer(Request("a", CHAT, {"messages": []}))
        await engine.close()
        assert engine.config == {"delay_s": 0.05}
        return time.monotonic() - began_s

    assert asyncio.run(run()) >= 0.05
