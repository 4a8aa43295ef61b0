"""vLLM in this process's care: one AsyncLLM and its own OpenAI serving layer, as `vllm run-batch` builds them.

The only module that imports vLLM to run it. Knows nothing of shards, stores or Ray.
"""

import asyncio
import logging
import os
from argparse import Namespace
from collections.abc import Awaitable, Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from multiprocessing.context import BaseContext
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import orjson
import vllm
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.datastructures import State
from starlette.responses import JSONResponse
from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.run_batch import make_arg_parser
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.entrypoints.openai.completion.protocol import CompletionRequest
from vllm.entrypoints.openai.responses.protocol import ResponsesRequest, ResponsesResponse
from vllm.entrypoints.pooling.embed.protocol import EmbeddingRequest
from vllm.entrypoints.pooling.scoring.protocol import RerankRequest, ScoreRequest
from vllm.entrypoints.serve import create_error_response
from vllm.entrypoints.serve.engine.protocol import ErrorResponse
from vllm.envs import enable_envs_cache
from vllm.exceptions import GenerationError
from vllm.platforms import current_platform
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.utils.system_utils import get_mp_context
from vllm.v1.engine import utils as engine_utils
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError

from batch.errors import UsageError
from batch.records.objects import EngineLoad
from batch.result import Code, Usage
from batch.rows.request import CHAT, Request
from batch.spec.engine_arguments import command_line_words
from batch.spec.engine_config import EngineConfig, EngineValue
from pipelines import seams
from pipelines.engines.base import Answer, EngineDead, Waiting, names_model, window_of
from pipelines.engines.validation_errors import first_problem
from pipelines.engines.vllm.cpu import lora
from pipelines.engines.vllm.last_words import LastWords
from pipelines.engines.vllm.load import LoadKeeper
from pipelines.errors import cannot_start, first_sentence
from pipelines.processes import sizing
from pipelines.processes.sizing import Machine

if TYPE_CHECKING:
    from pipelines.engines.vllm.fast_chat import PlainChats
    from pipelines.engines.vllm.prerender import PromptsAhead

logger = logging.getLogger(__name__)

STRUCTURED = ("structured_outputs", "response_format", "tools", "text")
"""Fields that may hold a grammar, or what becomes one."""

Handler: TypeAlias = Callable[[Any], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One URL of the serving layer: how its bodies are parsed, and what answers them (None: this model cannot)."""

    parse: Callable[[dict[str, Any]], object]
    handle: Handler | None


class VllmEngine:
    """One AsyncLLM with vLLM's OpenAI serving layer around it."""

    name = "vllm"
    version = vllm.__version__

    def __init__(
        self,
        llm: AsyncLLM,
        words: LastWords,
        endpoints: dict[str, Endpoint],
        plain_chats: "PlainChats | None",
        config: dict[str, object],
        window: int,
    ) -> None:
        self.config = config
        self.window = window
        self._llm = llm
        self._words = words
        self._endpoints = endpoints
        self._plain_chats = plain_chats
        self._keeper = LoadKeeper()
        if seams.FINAL_OUTPUTS.holds():
            llm.logger_manager = self._keeper  # vLLM's own would time every row

    @classmethod
    async def start(cls, config: EngineConfig, machine: Machine, *, rows: int, waiting: Waiting) -> "VllmEngine":
        """Load the model and build the serving layer; meanwhile make the prompts of what is `waiting`.

        Raises what vLLM raises when it cannot.
        """
        parser = make_arg_parser(_ArgumentParser())
        arguments = parser.parse_args(["-i", "none", "-o", "none", *command_line(config, rows)])
        vllm_config = await asyncio.to_thread(_configure, arguments, machine)
        logger.info("engine sizes: %s", _sizes(vllm_config))
        words = LastWords()
        loading = asyncio.ensure_future(asyncio.to_thread(_load, vllm_config, words))
        ahead = await _prompts_ahead(vllm_config, arguments, waiting, until=loading)
        llm = await loading
        state = State()
        await init_app_state(llm, state, arguments, await llm.get_supported_tasks())
        enable_envs_cache()  # as vLLM's own engine process does: some twenty variables are read for each request
        plain_chats = _plain_chats(llm, state, ahead, frozenset(config.lora))
        window = window_of(vllm_config.scheduler_config.max_num_seqs)
        return cls(llm, words, _endpoints(state), plain_chats, _sizes(vllm_config), window)

    async def answer(self, request: Request) -> Answer:
        endpoint = self._endpoints.get(request.endpoint)
        if endpoint is None or endpoint.handle is None:
            return _no_such_endpoint(request.endpoint)
        model = request.body.get("model")
        try:
            answer = await self._answer_plain(request)
            if answer is None:
                # A copy, since its parsers change what they are given, and the row may be asked again.
                response = await endpoint.handle(endpoint.parse(deepcopy(request.body)))
                answer = _answer(response, model)
        except EngineDeadError as error:
            raise EngineDead(self._words.cause() or str(error)) from None
        except Exception as error:  # noqa: BLE001 - the serving layer maps every exception of a request to a status, as its HTTP server does
            answer = _refused(_error_response(error, request.body), model)
        if _is_cancelled():
            # The serving layer swallows a cancellation and answers 400, "Client disconnected": that is no answer.
            raise asyncio.CancelledError
        return answer

    def load(self) -> EngineLoad | None:
        return self._keeper.latest

    def count_anew(self) -> None:
        self._keeper.count_anew()

    async def _answer_plain(self, request: Request) -> Answer | None:
        """The answer to a plain chat; None for any other request, and where something is wrong with the chat."""
        if self._plain_chats is None or request.endpoint != CHAT:
            return None
        try:
            return await self._plain_chats.answer(request.body)
        except EngineDeadError:
            raise
        except Exception:  # noqa: BLE001 - whatever is wrong with the row, the serving layer has the words for it
            return None

    async def close(self) -> None:
        self._llm.shutdown()


class _ArgumentParser(FlexibleArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise UsageError: vLLM's own ends the process."""
        raise UsageError(f"vLLM does not take these engine arguments: {first_sentence(message)}")


def command_line(config: EngineConfig, rows: int) -> list[str]:
    """Return the engine configuration, for a job of `rows`, as vLLM's own command-line arguments."""
    words = ["--model", config.model, "--served-model-name", *config.model_names]
    if config.lora:
        words += ["--enable-lora", "--lora-modules", *(f"{name}={path}" for name, path in config.lora.items())]
    defaults: dict[str, EngineValue] = {}
    if current_platform.is_cpu():
        defaults |= sizing.cpu_engine_arguments(rows)
    return words + command_line_words(defaults | config.engine_args)


def _configure(arguments: Namespace, machine: Machine) -> VllmConfig:
    """Return what vLLM makes of the arguments, and what it leaves open."""
    if current_platform.is_cpu():
        if arguments.enforce_eager and seams.CPU_KERNELS.holds():
            from pipelines.engines.vllm.cpu import kernels

            arguments.ir_op_priority = kernels.preferred(arguments.ir_op_priority)
        _make_room_for_adapters(arguments)
    # LLM_CLASS, because vLLM gives every other context but its server the sizes of its smallest device:
    # 128 sequences and 2,048 tokens a step, whatever the GPU.
    config = AsyncEngineArgs.from_cli_args(arguments).create_engine_config(UsageContext.LLM_CLASS)
    if current_platform.is_cpu():
        # vLLM spawns a CPU's workers, since its own EngineCore may have run OpenMP threads before; ours has not.
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
        if config.cache_config.kv_cache_memory_bytes is None:
            useful = _useful_kv_cache_bytes(config)
            config.cache_config.kv_cache_memory_bytes = sizing.cpu_kv_cache_bytes(machine, useful)
        if seams.CPU_CACHE.holds():
            from pipelines.engines.vllm.cpu import worker

            if config.parallel_config.worker_cls == worker.VLLMS_OWN:
                config.parallel_config.worker_cls = worker.NAME
    seams.GRAMMARS.holds()  # which EngineCore asks for itself, whose log is vLLM's
    if config.scheduler_config.scheduler_cls is None and seams.FINAL_OUTPUTS.holds():
        name = "FinalOnlyAsyncScheduler" if config.scheduler_config.async_scheduling else "FinalOnlyScheduler"
        config.scheduler_config.scheduler_cls = f"pipelines.engines.vllm.final_output_scheduler.{name}"
    return config


def _make_room_for_adapters(arguments: Namespace) -> None:
    slots = lora.slots(len(arguments.lora_modules or ()), arguments.max_loras)
    if slots > arguments.max_loras:
        logger.info("max_loras=%d: on a CPU one slot must stay empty, for rows without an adapter", slots)
        arguments.max_loras = slots
        arguments.max_cpu_loras = arguments.max_cpu_loras and max(arguments.max_cpu_loras, slots)


def _load(config: VllmConfig, words: LastWords) -> AsyncLLM:
    """Start the engine process and load the model; blocks until it is ready. Raises JobFailed, which says why not."""
    if seams.FORKED_ENGINE.holds():
        engine_utils.get_mp_context = partial(process_context, words)  # vLLM has no setting for it
    try:
        return AsyncLLM.from_vllm_config(
            config, usage_context=UsageContext.LLM_CLASS, enable_log_requests=False, disable_log_stats=True
        )
    except Exception as error:
        cause = words.cause()
        if cause is None:
            raise
        raise cannot_start(cause) from error


def probe_context() -> None:
    """Raise Unexpected unless vLLM has its processes of the context that the replaced name gives."""
    if not seams.FORK_SERVER.holds():
        raise seams.Unexpected("there is no fork server")
    seams.expect(engine_utils, "get_mp_context")
    seams.expect_use(engine_utils.CoreEngineProcManager.__init__, "get_mp_context", "Process")


async def _prompts_ahead(
    config: VllmConfig, arguments: Namespace, waiting: Waiting, *, until: "asyncio.Future[Any]"
) -> "PromptsAhead | None":
    """Make the prompts of what waits while the engine loads; None where plain chats have no way of their own."""
    if not seams.FAST_CHAT.holds():
        return None
    from pipelines.engines.vllm.prerender import PromptsAhead

    ahead = PromptsAhead(config, arguments)
    await ahead.make(waiting, until=until)
    return ahead


def _plain_chats(
    llm: AsyncLLM, state: State, ahead: "PromptsAhead | None", adapters: frozenset[str]
) -> "PlainChats | None":
    """Return what answers plain chats; None for an engine that has none."""
    serving = getattr(state, "openai_serving_chat", None)
    if ahead is None or serving is None:
        return None
    from pipelines.engines.vllm.fast_chat import PlainChats

    return PlainChats(llm, serving, ahead, adapters) if PlainChats.suits(llm, serving) else None


def process_context(words: LastWords) -> BaseContext:
    """Return how vLLM's processes are made: as our forks where vLLM itself would fork, else as vLLM makes them.

    It spawns where VLLM_WORKER_MULTIPROC_METHOD says so, under WSL, with NUMA binding, and when CUDA is initialized.
    """
    own = get_mp_context()
    return words.context() if own.get_start_method() == "fork" else own


def _sizes(config: VllmConfig) -> dict[str, object]:
    """Return what is worth knowing of an engine, for log and manifest; some of it is known when the model is loaded."""
    return {
        "max_model_len": config.model_config.max_model_len,
        "dtype": str(config.model_config.dtype).removeprefix("torch."),
        "max_num_seqs": config.scheduler_config.max_num_seqs,
        "max_num_batched_tokens": config.scheduler_config.max_num_batched_tokens,
        "enforce_eager": config.model_config.enforce_eager,
        "block_size": config.cache_config.block_size,
        "num_gpu_blocks": config.cache_config.num_gpu_blocks,
        "enable_prefix_caching": config.cache_config.enable_prefix_caching,
        "tensor_parallel_size": config.parallel_config.tensor_parallel_size,
        "pipeline_parallel_size": config.parallel_config.pipeline_parallel_size,
        "quantization": config.model_config.quantization,
    }


def _useful_kv_cache_bytes(config: VllmConfig) -> int:
    """Return what the KV cache takes when each sequence of a full engine is as long as the model allows."""
    model, parallel, block_tokens = config.model_config, config.parallel_config, config.cache_config.block_size
    keys_and_values = 2 * model.get_num_kv_heads(parallel) * model.get_head_size() * model.dtype.itemsize
    block_bytes = block_tokens * model.get_num_layers(parallel) * keys_and_values
    blocks = config.scheduler_config.max_num_seqs * -(-model.max_model_len // block_tokens)
    return int((blocks + 1) * block_bytes)  # vLLM keeps one block for itself


def _endpoints(state: State) -> dict[str, Endpoint]:
    def method(serving: str, name: str) -> Handler | None:
        return getattr(getattr(state, serving, None), name, None)

    chat = Endpoint(ChatCompletionRequest.model_validate, method("openai_serving_chat", "create_chat_completion"))
    completion = Endpoint(CompletionRequest.model_validate, method("openai_serving_completion", "create_completion"))
    responses = Endpoint(ResponsesRequest.model_validate, method("openai_serving_responses", "create_responses"))
    embedding = Endpoint(TypeAdapter(EmbeddingRequest).validate_python, method("serving_embedding", "__call__"))
    score = Endpoint(TypeAdapter(ScoreRequest).validate_python, method("serving_scores", "__call__"))
    rerank = Endpoint(RerankRequest.model_validate, method("serving_scores", "__call__"))
    return {
        "/v1/chat/completions": chat,
        "/v1/completions": completion,
        "/v1/responses": responses,
        "/v1/embeddings": embedding,
        "/score": score,
        "/v1/score": score,
        "/rerank": rerank,
        "/v1/rerank": rerank,
        "/v2/rerank": rerank,
    }


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _answer(response: object, model: object) -> Answer:
    if isinstance(response, ErrorResponse):
        return _refused(response, model)
    if isinstance(response, JSONResponse):  # the pooling endpoints answer with a rendered HTTP response
        body = bytes(response.body)
        return Answer(200, body, _usage(orjson.loads(body).get("usage") or {}))
    if isinstance(response, BaseModel):
        usage = getattr(response, "usage", None)
        by_alias = isinstance(response, ResponsesResponse)  # as the server's routes write it
        body = response.model_dump_json(by_alias=by_alias).encode()
        return Answer(200, body, _usage(usage.model_dump() if usage else {}))
    return _refused(create_error_response("Request must not be sent in stream mode"), model)


def _error_response(error: Exception, body: dict[str, Any]) -> ErrorResponse:
    if isinstance(error, ValidationError):
        problem = first_problem(error.errors(include_url=False), body)
        if problem is not None:
            return create_error_response(problem.message, param=problem.field)
    if isinstance(error, GenerationError) and any(body.get(name) for name in STRUCTURED):
        error = GenerationError(
            "the structured output refused a token, or took too long for one, so that all other rows waited: the log "
            "says which"
        )
    return create_error_response(error)


def _usage(usage: dict[str, Any]) -> Usage:
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    return Usage(
        prompt_tokens=usage.get("prompt_tokens", usage.get("input_tokens", 0)) or 0,
        completion_tokens=usage.get("completion_tokens", usage.get("output_tokens", 0)) or 0,
        cached_tokens=details.get("cached_tokens", 0) or 0,
    )


def _no_such_endpoint(endpoint: str) -> Answer:
    message = f"Model does not support endpoint: {endpoint}"
    response = create_error_response(message, err_type="NotFoundError", status_code=HTTPStatus.NOT_FOUND)
    return Answer(HTTPStatus.NOT_FOUND, response.model_dump_json().encode(), Usage(), Code.UNSUPPORTED_ENDPOINT)


def _refused(response: ErrorResponse, model: object) -> Answer:
    error = response.error
    if error.code == HTTPStatus.NOT_FOUND:
        code = Code.MODEL_MISMATCH if names_model(error.message, model) else Code.INVALID_PARAMETER
    elif error.code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        code = Code.INTERNAL
    elif error.param in ("input_text", "input_tokens") or "maximum context length" in error.message:
        code = Code.PROMPT_TOO_LONG
    else:
        code = Code.INVALID_PARAMETER
    return Answer(error.code, response.model_dump_json().encode(), Usage(), code)
