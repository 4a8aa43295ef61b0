"""An engine that answers at once with the end of the prompt: it measures all that is around an engine.

Deterministic: equal requests get equal bodies. Knows nothing of models.
"""

import asyncio
import os

import orjson

from batch.result import Usage
from batch.rows.request import Request
from batch.spec.engine_config import EngineConfig
from batch.strict_json import dumps
from pipelines.engines.base import Answer

MAX_ECHO_CHARACTERS = 64


class EchoEngine:
    """Answers after `delay_s` seconds with the last characters of the prompt."""

    name = "echo"
    version = "1"

    def __init__(self, *, delay_s: float = 0.0, gpus: str = "", window: int = 256) -> None:
        """`gpus`: the numbers of those it was given."""
        self.config: dict[str, object] = {"delay_s": delay_s, **({"gpus": gpus} if gpus else {})}
        self.window = window
        self._delay_s = delay_s

    @classmethod
    async def start(cls, config: EngineConfig) -> "EchoEngine":
        given = os.environ.get("CUDA_VISIBLE_DEVICES", "") if config.engine_args.get("gpus") else ""
        return cls(delay_s=float(config.engine_args.get("delay_s", 0.0)), gpus=given)

    async def answer(self, request: Request) -> Answer:
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        text = prompt_text(request.body)
        words = text.split()
        reply = text[-MAX_ECHO_CHARACTERS:]
        usage = Usage(prompt_tokens=len(words), completion_tokens=len(reply.split()))
        return Answer(200, orjson.dumps(_response(request, reply, usage)), usage)

    async def close(self) -> None:
        return


def prompt_text(body: dict[str, object]) -> str:
    """Return the text that a body asks about: its last message, its prompt or its input."""
    messages = body.get("messages")
    if isinstance(messages, list) and messages and isinstance(messages[-1], dict):
        content = messages[-1].get("content")
        return content if isinstance(content, str) else dumps(content).decode()
    text = body.get("prompt", body.get("input", ""))
    return text if isinstance(text, str) else dumps(text).decode()


def _response(request: Request, reply: str, usage: Usage) -> dict[str, object]:
    if request.endpoint == "/v1/chat/completions":
        choice: dict[str, object] = {"index": 0, "message": {"role": "assistant", "content": reply}}
        kind = "chat.completion"
    else:
        choice = {"index": 0, "text": reply}
        kind = "text_completion"
    return {
        "id": f"echo-{request.custom_id}",
        "object": kind,
        "created": 0,
        "model": request.body.get("model"),
        "choices": [choice | {"finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "total_tokens": usage.total_tokens,
        },
    }
