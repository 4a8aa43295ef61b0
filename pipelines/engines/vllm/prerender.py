"""From plain chats to token ids, by vLLM's renderer; for rows that wait for an engine to load, before it has.

A plain chat has nothing but text in its messages and asks for nothing but text. Knows nothing of how it is answered.
"""

import asyncio
from argparse import Namespace
from array import array
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vllm.config import VllmConfig
from vllm.entrypoints.launchers.cli_args import resolve_default_chat_template_kwargs
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.renderers.base import BaseRenderer
from vllm.renderers.chat_utils import load_chat_template
from vllm.renderers.hf import HfRenderer
from vllm.renderers.params import ChatParams, merge_kwargs
from vllm.renderers.registry import renderer_from_config
from vllm.v1.engine.detokenizer import uses_fast_detokenizer

from batch.rows.request import CHAT
from batch.strict_json import dumps
from pipelines.engines.base import Waiting

LENGTHS = ("max_completion_tokens", "max_tokens")
"""The first that a row has counts."""
VARYING = frozenset((*LENGTHS, "seed", "user", "messages"))
"""In what plain chats of one kind may differ."""
SHAPING = frozenset(
    [
        *("model", "temperature", "top_p", "top_k", "min_p", "ignore_eos", "stop_token_ids", "logit_bias"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "chat_template_kwargs"),
    ]
)
"""What a plain chat may have besides. Rows alike in these are of one kind."""
ROLES = frozenset(("system", "user", "assistant"))
MAX_CHARACTERS = 32_768
"""Of a plain chat's messages. They are rendered where all rows are waited for: this many take 10 ms."""
MAX_TOKENS_AHEAD = 4 << 20
"""Of all prompts that wait for the engine: 16 MiB."""
LOOK_EVERY_S = 0.1

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rendering:
    """How chats of one kind become token ids."""

    chat: ChatParams
    adds_special_tokens: bool


@dataclass(frozen=True, slots=True)
class Template:
    """What an engine was told of chat templates. The fields are those of vLLM's OnlineRenderer."""

    chat_template: str | None
    chat_template_content_format: Any
    default_chat_template_kwargs: dict[str, Any]

    def rendering(self, request: ChatCompletionRequest) -> Rendering:
        """Return how vLLM's serving layer renders a request without tools."""
        chat = request.build_chat_params(self.chat_template, self.chat_template_content_format)
        defaults = merge_kwargs(self.default_chat_template_kwargs, {"tools": None, "tokenize": False})
        return Rendering(chat.with_defaults(defaults), request.add_special_tokens)


class Renderer:
    """vLLM's renderer and tokenizer, without the layers of Python around the latter."""

    def __init__(self, renderer: BaseRenderer) -> None:
        self._renderer = renderer
        self.tokenizer = renderer.get_tokenizer()._tokenizer

    @staticmethod
    def suits(renderer: BaseRenderer) -> bool:
        """Whether it renders and tokenizes as is done here."""
        return (
            isinstance(renderer, HfRenderer)
            and uses_fast_detokenizer(renderer.tokenizer)
            and renderer.tokenizer._tokenizer.truncation is None
            and renderer.tokenizer._tokenizer.padding is None
        )

    def tokens(self, rendering: Rendering, body: Body) -> list[int]:
        """Return the prompt's token ids. Raises whatever a chat's template does."""
        _, prompt = self._renderer.render_messages(body["messages"], rendering.chat)
        text = prompt["prompt"]
        tokens: list[int] = self.tokenizer.encode(text, add_special_tokens=rendering.adds_special_tokens).ids
        return tokens


@dataclass(frozen=True, slots=True)
class Prompt:
    """A body's token ids, and how they were made of it."""

    body: Body
    rendering: Rendering
    tokens: "array[int]"


class PromptsAhead:
    """Makes the prompts of rows that wait, while the engine loads, up to `max_tokens` of them. For one event loop."""

    def __init__(self, config: VllmConfig, arguments: Namespace, max_tokens: int = MAX_TOKENS_AHEAD) -> None:
        """`arguments`: the engine's, as `vllm run-batch` parses them."""
        renderer = renderer_from_config(config)
        self._renderer = Renderer(renderer) if Renderer.suits(renderer) else None
        defaults = resolve_default_chat_template_kwargs(arguments)
        content_format = arguments.chat_template_content_format
        self._template = Template(load_chat_template(arguments.chat_template), content_format, defaults)
        self._renderings: dict[bytes, Rendering] = {}
        self._made: dict[int, Prompt] = {}  # by the identity of the body, which each prompt holds
        self._room = max_tokens

    async def make(self, waiting: Waiting, *, until: "asyncio.Future[Any]") -> None:
        """Make the prompts of the plain chats among those that are `waiting`, `until` that is done."""
        looked_at: set[int] = set()
        while self._renderer is not None and self._room > 0 and not until.done():
            for request in [request for request in waiting() if id(request.body) not in looked_at]:
                looked_at.add(id(request.body))
                if request.endpoint == CHAT and is_plain(request.body):
                    with suppress(Exception):  # whatever is wrong with the row, the serving layer has the words for it
                        self._make(self._renderer, request.body)
                    await asyncio.sleep(0)  # whatever else the loop has to do comes first
                if until.done() or self._room <= 0:
                    return
            await asyncio.wait({until}, timeout=LOOK_EVERY_S)

    def take(self, body: Body) -> Prompt | None:
        """Return what was made of this very body, and forget it."""
        return self._made.pop(id(body), None)

    def _make(self, renderer: Renderer, body: Body) -> None:
        rendering = self._rendering(body)
        tokens = renderer.tokens(rendering, body)
        if tokens:
            self._made[id(body)] = Prompt(body, rendering, array("i", tokens))
            self._room -= len(tokens)

    def _rendering(self, body: Body) -> Rendering:
        key = kind_key(body)
        if key not in self._renderings:
            self._renderings[key] = self._template.rendering(kind_request(body))
        return self._renderings[key]


def is_plain(body: Body) -> bool:
    """Whether a chat asks for text and nothing else, in vLLM's terms, and is not too long to be rendered at once."""
    messages = body.get("messages")
    return (
        all(name in SHAPING or name in VARYING for name in body)
        and type(length_of(body) or 0) is int
        and _is_seed(body.get("seed"))
        and isinstance(body.get("user") or "", str)  # vLLM reads no more of it
        and isinstance(messages, list)
        and all(map(_is_text, messages))
        and sum(len(message["content"]) for message in messages) <= MAX_CHARACTERS
    )


def kind_key(body: Body) -> bytes:
    """Return the name of a plain chat's kind."""
    return dumps(_shape(body), sort_keys=True)


def kind_request(body: Body) -> ChatCompletionRequest:
    """Return vLLM's request for a chat, but for length and seed: what its kind has in common. Raises ValueError."""
    return ChatCompletionRequest.model_validate(_shape(body) | {"messages": body["messages"]})


def length_of(body: Body) -> Any:
    """Return how many tokens a chat may have for an answer; None where it does not say."""
    return next((body[name] for name in LENGTHS if body.get(name) is not None), None)


def _shape(body: Body) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name in SHAPING}


def _is_seed(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value < 1 << 63)


def _is_text(message: object) -> bool:
    return (
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and isinstance(message["role"], str)
        and message["role"] in ROLES
        and isinstance(message["content"], str)
    )
