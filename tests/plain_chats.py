"""A script: an engine of ours answers chats the short way and by vLLM's serving layer, and prints both.

stdin: JSON lines, a chat's body each. stdout: a JSON line for each, `plain` (null: left to the serving layer), `again`
(the same with a prompt that was made while the engine loaded; null: none was) and `served`; then one of what is left in
the engine after a chat was cancelled.
"""

import asyncio
import json
import os
import sys
from copy import deepcopy
from typing import Any

import orjson

from batch.rows.request import CHAT, Request
from batch.spec.engine_config import EngineConfig
from pipelines.engines.base import Answer
from pipelines.models import ARITHMETIC_MODEL
from pipelines.processes import fork_server, sizing

NAME = "arithmetic"


async def main(bodies: list[dict[str, Any]]) -> None:
    """Start the engine; answer each body twice, one after another; cancel one."""
    from pipelines.engines.vllm.engine import VllmEngine

    config = EngineConfig(
        "vllm",
        str(ARITHMETIC_MODEL),
        served_model_names=(NAME,),
        engine_args={
            "dtype": "float32",
            "max_model_len": 512,
            "enable_prefix_caching": False,  # the second answer would find the first one's prompt
            "enable_prompt_tokens_details": True,
        },
    )
    requests = [Request(f"row-{index}", CHAT, body) for index, body in enumerate(bodies)]
    machine = sizing.this_machine(0, 1)
    engine = await VllmEngine.start(config, machine, rows=len(bodies), waiting=lambda: requests)
    plain_chats = engine._plain_chats
    assert plain_chats is not None
    for body in bodies:
        plain = await engine._answer_plain(Request("row", CHAT, dict(body)))
        was_made = id(body) in plain_chats._ahead._made
        again = await plain_chats.answer(body) if was_made else None
        assert id(body) not in plain_chats._ahead._made
        engine._plain_chats = None
        as_it_was = deepcopy(body)
        served = await engine.answer(Request("row", CHAT, body))
        assert body == as_it_was, "a row that is asked again, or blamed for a death, is the same row"
        engine._plain_chats = plain_chats
        print(json.dumps({"plain": plain and shown(plain), "again": again and shown(again), "served": shown(served)}))
    endless = asyncio.ensure_future(plain_chats.answer(bodies[0] | {"max_tokens": 400, "ignore_eos": True}))
    await asyncio.sleep(0.1)
    endless.cancel()
    await asyncio.wait([endless])
    print(json.dumps({"cancelled": endless.cancelled(), "left": engine._llm.get_num_unfinished_requests()}))
    await engine.close()


def shown(answer: Answer) -> dict[str, object]:
    """What of an answer is told."""
    usage = [answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.cached_tokens]
    return {"status_code": answer.status_code, "body": orjson.loads(answer.body), "usage": usage}


if __name__ == "__main__":
    os.environ |= sizing.engine_environment(sizing.this_machine(0, 1), 1, weights=[str(ARITHMETIC_MODEL)])
    fork_server.start(["pipelines.engines.vllm.preload"], {})
    asyncio.run(main([json.loads(line) for line in sys.stdin]))
