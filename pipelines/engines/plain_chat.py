"""Chats that ask for text and nothing else, answered without making of each what is the same for all of them.

vLLM's serving layer parses, checks and builds a dozen objects for every row, and the rows of a dataset mostly differ
in their messages alone. Here vLLM's own functions make those objects of the first row of a kind; the others are
rendered, computed, and put into the same form. What is not as simple, or goes wrong, is left to the serving layer.
"""

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import uuid4

import msgspec
import orjson
from tokenizers.decoders import DecodeStream
from vllm.entrypoints.generate.base.protocol import RequestResponseMetadata
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest, ChatCompletionResponse
from vllm.entrypoints.openai.chat_completion.serving import OpenAIServingChat
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.entrypoints.serve.utils.api_utils import get_max_tokens
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.renderers.hf import HfRenderer
from vllm.renderers.params import ChatParams, merge_kwargs
from vllm.v1.engine import EngineCoreRequest
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.detokenizer import IncrementalDetokenizer, uses_fast_detokenizer

from batch.result import Usage
from pipelines.engines.base import Answer

LENGTHS = ("max_completion_tokens", "max_tokens")
"""The first that a row has counts."""
VARYING = frozenset((*LENGTHS, "seed", "messages"))
"""In what plain chats of one kind may differ."""
SHAPING = frozenset(
    [
        *("model", "temperature", "top_p", "top_k", "min_p", "ignore_eos", "stop_token_ids", "logit_bias"),
        *("frequency_penalty", "presence_penalty", "repetition_penalty", "chat_template_kwargs", "user"),
    ]
)
"""What a plain chat may have besides. Rows alike in these are of one kind."""
ROLES = frozenset(("system", "user", "assistant"))
MAX_CHARACTERS = 32_768
"""Of a plain chat's messages. They are rendered where all rows are waited for: this many take 10 ms."""
MAX_KINDS = 256

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """What plain chats of the same parameters have in common."""

    chat: ChatParams
    adds_special_tokens: bool
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


class PlainChats:
    """Answers plain chats on an engine that has a serving layer, too. `adapters`: model names that mean an adapter."""

    def __init__(self, llm: AsyncLLM, serving: OpenAIServingChat, adapters: frozenset[str]) -> None:
        self._llm = llm
        self._serving = serving
        self._tokenizer = llm.renderer.get_tokenizer()._tokenizer  # without the layers of Python around it
        self._adapters = adapters
        self._kinds: dict[bytes, asyncio.Task[Kind | None]] = {}  # by their parameters
        self._prefix = f"chatcmpl-{uuid4().hex[:12]}"
        self._numbers = count()

    @staticmethod
    def suits(llm: AsyncLLM, serving: OpenAIServingChat) -> bool:
        """Whether an engine has plain chats at all: it reads nothing but text, and what it generates is the answer."""
        model, tokenizer = llm.model_config, llm.renderer.tokenizer
        return (
            isinstance(llm.renderer, HfRenderer)
            and uses_fast_detokenizer(tokenizer)
            and tokenizer._tokenizer.truncation is None
            and tokenizer._tokenizer.padding is None
            and serving.parser_cls is None
            and not serving.online_renderer.use_harmony
            and not serving.enable_per_request_metrics
            and not (model.is_multimodal_model or model.is_encoder_decoder or model.enable_prompt_embeds)
        )

    async def answer(self, body: Body) -> Answer | None:
        """Answer a chat, or return None: then the serving layer is to answer it, or to say what is wrong with it.

        Raises EngineDeadError.
        """
        if not self._is_plain(body):
            return None
        kind = await self._kind(body)
        if kind is None:
            return None
        prompt = self._rendered(kind, body)
        if prompt is None:
            return None
        room = self._llm.model_config.max_model_len - len(prompt)
        asked = _length(body)
        if room < 1 or (asked is not None and not 1 <= asked <= room):
            return None
        request = kind.request_for(
            f"{self._prefix}{next(self._numbers):08x}",
            prompt,
            max_tokens=self._max_tokens(asked, len(prompt)),
            seed=body.get("seed"),
        )
        return self._filled(kind, await self._computed(request))

    def _is_plain(self, body: Body) -> bool:
        messages = body.get("messages")
        return (
            all(name in SHAPING or name in VARYING for name in body)
            and body.get("model") not in self._adapters
            and type(_length(body) or 0) is int
            and _is_seed(body.get("seed"))
            and isinstance(messages, list)
            and all(map(_is_text, messages))
            and sum(len(message["content"]) for message in messages) <= MAX_CHARACTERS
        )

    async def _kind(self, body: Body) -> Kind | None:
        shape = {name: value for name, value in body.items() if name in SHAPING}
        key = orjson.dumps(shape, option=orjson.OPT_SORT_KEYS)
        making = self._kinds.get(key)
        if making is None:
            if len(self._kinds) >= MAX_KINDS:
                return None
            making = self._kinds[key] = asyncio.ensure_future(self._kind_of({**shape, "messages": body["messages"]}))
        kind = await asyncio.shield(making)  # this row may be cancelled, and others wait
        if kind is None:
            self._kinds.pop(key, None)  # it may have been this row's fault
        return kind

    async def _kind_of(self, body: dict[str, Any]) -> Kind | None:
        """Do with a first row what the serving layer does with each. None where it refuses the row."""
        serving, llm = self._serving, self._llm
        try:
            request = ChatCompletionRequest.model_validate(body)
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
        chat = request.build_chat_params(online.chat_template, online.chat_template_content_format)
        chat = chat.with_defaults(merge_kwargs(online.default_chat_template_kwargs, {"tools": None, "tokenize": False}))
        kind = Kind(chat, request.add_special_tokens, core_request, orjson.loads(response.model_dump_json()))
        return kind if self._rendered(kind, body) == prompt["prompt_token_ids"] else None

    def _rendered(self, kind: Kind, body: Body) -> list[int] | None:
        """Return the prompt's token ids; None where the chat cannot be rendered."""
        try:
            _, prompt = self._llm.renderer.render_messages(body["messages"], kind.chat)
        except Exception:  # noqa: BLE001 - as above
            return None
        tokens: list[int] = self._tokenizer.encode(prompt["prompt"], add_special_tokens=kind.adds_special_tokens).ids
        return tokens

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
        """Return what vLLM's own detokenizer makes of an answer's tokens, at once where it would make no odds."""
        (completion,) = output.outputs
        tokens = list(completion.token_ids)
        if completion.finish_reason == "stop":
            del tokens[-1:]  # the token that ended the answer is no part of its text
        stream = DecodeStream(ids=output.prompt_token_ids, skip_special_tokens=True)
        text: str | None = stream.step(self._tokenizer, tokens) if tokens else ""
        if text is not None and "\ufffd" not in text:
            return text
        # A character that is cut off, at the end or between: it matters that the tokens came one by one.
        request = msgspec.structs.replace(kind.request, prompt_token_ids=output.prompt_token_ids)
        one_by_one = IncrementalDetokenizer.from_new_request(self._llm.renderer.get_tokenizer(), request)
        one_by_one.update(tokens, stop_terminated=False)
        return str(one_by_one.get_next_output_text(finished=True, delta=False))


def _length(body: Body) -> Any:
    return next((body[name] for name in LENGTHS if body.get(name) is not None), None)


def _is_seed(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value < 1 << 63)


def _is_text(message: object) -> bool:
    return (
        isinstance(message, dict)
        and message.keys() == {"role", "content"}
        and message["role"] in ROLES
        and isinstance(message["content"], str)
    )


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
