"""Chats that ask for text and nothing else, answered without making of each what is the same for all of them.

vLLM's serving layer parses, checks and builds a dozen objects for every row, and the rows of a dataset mostly differ
in their messages alone. Here vLLM's own functions make those objects of the first row of a kind; the others are
rendered, computed, and put into the same form. What is not as simple, or goes wrong, is left to the serving layer.
"""

import asyncio
import copy
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import msgspec
import orjson
from vllm.entrypoints.generate.base.protocol import RequestResponseMetadata
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionResponse
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.utils.api_utils import get_max_tokens
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.renderers.base import BaseRenderer
from vllm.renderers.online_renderer import OnlineRenderer
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.detokenizer import IncrementalDetokenizer

from batch.result import Usage
from pipelines import seams
from pipelines.engines.base import Answer
from pipelines.engines.vllm.detokenizer import text_of
from pipelines.engines.vllm.prerender import (
    Body,
    PromptsAhead,
    Renderer,
    Rendering,
    Template,
    is_plain,
    kind_key,
    kind_request,
    length_of,
)

MAX_KINDS = 256
MAX_REFUSALS = 3
"""So many rows of a kind are tried: a refusal may be the fault of one row, or of all, which need not pay for it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What plain chats of the same parameters have in common."""

    rendering: Rendering
    request: EngineCoreRequest
    """With the parameters of sampling, but for length and seed."""
    form: dict[str, Any]
    """An answer without its text, as the serving layer would give it."""

    def request_for(self, name: str, prompt: list[int], *, max_tokens: int, seed: int | None) -> EngineCoreRequest:
        """Return what EngineCore is asked for one row."""
        sampling = copy.copy(self.request.params)
        sampling.max_tokens, sampling.seed = max_tokens, seed
        return msgspec.structs.replace(
            self.request,
            request_id=name,
            external_req_id=None,
            prompt_token_ids=prompt,
            sampling_params=sampling,
            arrival_time=time.time(),
        )


def probe() -> None:
    """Raise Unexpected unless vLLM's serving layer, renderer and engine have what is used here and in `prerender`."""
    online = ("chat_template", "chat_template_content_format", "default_chat_template_kwargs", "use_harmony")
    seams.expect_use(OnlineRenderer.__init__, *online)
    made = ("parser_cls", "enable_per_request_metrics", "default_sampling_params", "override_max_tokens")
    seams.expect_use(OpenAIServingChat.__init__, *made)
    seams.expect(OpenAIServingChat, "render_chat_request", "chat_completion_full_generator")
    seams.expect(AsyncLLM, "add_request", "abort", "get_supported_tasks")
    seams.expect(BaseRenderer, "render_messages", "get_tokenizer")
    seams.expect(EngineCoreRequest, "external_req_id", "prompt_token_ids", "sampling_params", "arrival_time")
    seams.expect(IncrementalDetokenizer, "from_new_request", "update", "get_next_output_text")


class PlainChats:
    """Answers plain chats on an engine that has a serving layer, too. `adapters`: model names that mean an adapter."""

    def __init__(
        self, llm: AsyncLLM, serving: OpenAIServingChat, ahead: PromptsAhead, adapters: frozenset[str]
    ) -> None:
        self._llm = llm
        self._serving = serving
        self._ahead = ahead
        self._renderer = Renderer(llm.renderer)
        self._adapters = adapters
        self._kinds: dict[bytes, asyncio.Task[Kind | None]] = {}  # by their parameters
        self._refusals: Counter[bytes] = Counter()
        self._prefix = f"chatcmpl-{uuid4().hex[:12]}"
        self._numbers = count()

    @staticmethod
    def suits(llm: AsyncLLM, serving: OpenAIServingChat) -> bool:
        """Whether an engine has plain chats at all: it reads nothing but text, and what it generates is the answer."""
        model = llm.model_config
        return (
            Renderer.suits(llm.renderer)
            and serving.parser_cls is None
            and not serving.online_renderer.use_harmony
            and not serving.enable_per_request_metrics
            and not (model.is_multimodal_model or model.is_encoder_decoder or model.enable_prompt_embeds)
        )

    async def answer(self, body: Body) -> Answer | None:
        """Answer a chat, or return None: then the serving layer is to answer it, or to say what is wrong with it.

        Raises EngineDeadError, and whatever a row can make vLLM's functions raise.
        """
        made = self._ahead.take(body)
        if not is_plain(body) or body.get("model") in self._adapters:
            return None
        kind = await self._kind(body)
        if kind is None:
            return None
        if made is not None and made.rendering == kind.rendering:
            prompt: list[int] = made.tokens.tolist()
        else:
            prompt = self._renderer.tokens(kind.rendering, body)
        room = self._llm.model_config.max_model_len - len(prompt)
        asked = length_of(body)
        if room < 1 or (asked is not None and not 1 <= asked <= room):
            return None
        request = kind.request_for(
            f"{self._prefix}{next(self._numbers):08x}",
            prompt,
            max_tokens=self._max_tokens(asked, len(prompt)),
            seed=body.get("seed"),
        )
        return self._filled(kind, await self._computed(request))

    async def _kind(self, body: Body) -> Kind | None:
        key = kind_key(body)
        making = self._kinds.get(key)
        if making is None:
            if len(self._kinds) >= MAX_KINDS or self._refusals[key] >= MAX_REFUSALS:
                return None
            making = self._kinds[key] = asyncio.ensure_future(self._kind_of(body))
        kind = await asyncio.shield(making)  # this row may be cancelled, and others wait
        if kind is None and self._kinds.pop(key, None) is not None:  # once, not for each row that waited
            if len(self._refusals) >= MAX_KINDS:
                self._refusals.clear()  # there may be as many kinds as rows
            self._refusals[key] += 1
        return kind

    async def _kind_of(self, body: Body) -> Kind | None:
        """Do with a first row what the serving layer does with each. None where it refuses the row."""
        serving, llm = self._serving, self._llm
        try:
            request = kind_request(body)
            rendered = await serving.render_chat_request(request)
            if isinstance(rendered, ErrorResponse):
                return None
            conversation, (prompt,) = rendered
            sampling = request.to_sampling_params(1, serving.default_sampling_params)
            sampling.detokenize = False  # once and for all tokens, when they are there
            tasks = await llm.get_supported_tasks()
            core_request = llm.input_processor.process_inputs("", prompt, sampling, supported_tasks=tasks)
            response = await serving.chat_completion_full_generator(
                request,
                _only(_nothing(core_request)),
                request_id="",
                model_name=serving.models.model_name(None),
                conversation=conversation,
                tokenizer=llm.renderer.get_tokenizer(),
                request_metadata=RequestResponseMetadata(request_id=""),
            )
        except Exception:  # noqa: BLE001 - whatever is wrong with the row, the serving layer has the words for it
            return None
        if not isinstance(response, ChatCompletionResponse):
            return None
        online = serving.online_renderer
        template = Template(
            online.chat_template, online.chat_template_content_format, online.default_chat_template_kwargs
        )
        rendering = template.rendering(request)
        kind = Kind(rendering, core_request, orjson.loads(response.model_dump_json()))
        return kind if self._renderer.tokens(rendering, body) == prompt["prompt_token_ids"] else None

    def _max_tokens(self, asked: int | None, prompt_tokens: int) -> int:
        serving = self._serving
        limit = self._llm.model_config.max_model_len
        defaults, most = serving.default_sampling_params, serving.override_max_tokens
        return int(get_max_tokens(limit, asked, prompt_tokens, defaults, most))

    async def _computed(self, request: EngineCoreRequest) -> RequestOutput:
        answering = await self._llm.add_request(request.request_id, request, request.params)
        try:
            output = await answering.get()
        except BaseException:
            await self._llm.abort(answering.request_id, internal=True)
            raise
        assert isinstance(output, RequestOutput)
        return output

    def _filled(self, kind: Kind, output: RequestOutput) -> Answer | None:
        (completion,) = output.outputs
        if completion.finish_reason not in ("stop", "length"):
            return None
        (choice,) = kind.form["choices"]
        prompt_tokens, completion_tokens = len(output.prompt_token_ids or ()), len(completion.token_ids)
        usage = kind.form["usage"] | {
            "prompt_tokens": prompt_tokens,
            "total_tokens": prompt_tokens + completion_tokens,
            "completion_tokens": completion_tokens,
        }
        if usage["prompt_tokens_details"] is not None:
            cached = {
                "cached_tokens": output.num_cached_tokens,
                "created_cache_tokens": output.num_cache_creation_tokens,
            }
            usage["prompt_tokens_details"] = usage["prompt_tokens_details"] | cached
        choice = choice | {
            "message": choice["message"] | {"content": self._text(kind, output)},
            "finish_reason": completion.finish_reason,
            "stop_reason": completion.stop_reason,
        }
        answer = kind.form | {
            "id": output.request_id,
            "created": int(time.time()),
            "choices": [choice],
            "usage": usage,
        }
        counted = Usage(prompt_tokens, completion_tokens, output.num_cached_tokens or 0)
        return Answer(200, orjson.dumps(answer), counted)

    def _text(self, kind: Kind, output: RequestOutput) -> str:
        """Return what vLLM's own detokenizer makes of an answer's tokens."""
        (completion,) = output.outputs
        tokens = list(completion.token_ids)
        if completion.finish_reason == "stop":
            del tokens[-1:]  # the token that ended the answer is no part of its text
        text = text_of(self._renderer.tokenizer, output.prompt_token_ids or (), tokens)
        if text is not None:
            return text
        request = msgspec.structs.replace(kind.request, prompt_token_ids=output.prompt_token_ids)
        one_by_one = IncrementalDetokenizer.from_new_request(self._llm.renderer.get_tokenizer(), request)
        one_by_one.update(tokens, stop_terminated=False)
        return str(one_by_one.get_next_output_text(finished=True, delta=False))


async def _only(output: RequestOutput) -> AsyncIterator[RequestOutput]:
    yield output


def _nothing(request: EngineCoreRequest) -> RequestOutput:
    """An answer without a token."""
    empty = CompletionOutput(
        index=0, text="", token_ids=[], cumulative_logprob=None, logprobs=None, finish_reason="length"
    )
    return RequestOutput(
        request_id="",
        prompt=None,
        prompt_token_ids=request.prompt_token_ids,
        prompt_logprobs=None,
        outputs=[empty],
        finished=True,
        num_cached_tokens=0,
    )
