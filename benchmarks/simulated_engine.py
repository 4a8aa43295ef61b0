"""An engine with the scheduler and the prefix cache that vLLM has in ours, and a clock in the place of a model.

A step takes a fixed time and a time for each token that it computes; each row gets as many tokens as it asks for.
"""

import asyncio
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
import vllm
from vllm import SamplingParams
from vllm.engine.arg_utils import EngineArgs
from vllm.sampling_params import RequestOutputKind
from vllm.utils.hashing import get_hash_fn_by_name
from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request as EngineRequest
from vllm.v1.structured_output import StructuredOutputManager

from batch.result import Usage
from batch.rows.request import Request
from benchmarks.ceiling import Tokenize
from benchmarks.steps import Work
from pipelines.engines.base import Answer, window_of
from pipelines.engines.vllm.final_output_scheduler import FinalOnly, FinalOnlyScheduler


@dataclass(frozen=True, slots=True)
class Device:
    """What an engine has, and what its steps take. The times are of the order of 8 billion parameters on an H100."""

    kv_tokens: int
    block_size: int = 32
    max_num_seqs: int = 256
    max_num_batched_tokens: int = 4096
    step_s: float = 0.008
    token_s: float = 25e-6


class SimulatedEngine:
    """Answers like any engine, when `end_step` of the step in which a row got its last token is called."""

    name = "simulated"
    version = vllm.__version__

    def __init__(self, model: str, device: Device, tokenize: Tokenize) -> None:
        self._scheduler = new_scheduler(model, device)
        hashed = get_hash_fn_by_name(self._scheduler.cache_config.prefix_caching_hash_algo)
        init_none_hash(hashed)
        self.config: dict[str, object] = {}
        self.window = window_of(device.max_num_seqs)
        self.work = Work()
        self._device = device
        self._tokenize = tokenize
        self._hasher = get_request_block_hasher(device.block_size, hashed)
        self._open: dict[str, tuple[EngineRequest, asyncio.Future[None]]] = {}
        self._ids = count()
        self._planned: Any = None

    async def answer(self, request: Request) -> Answer:
        """Return an empty answer when the row has got its tokens."""
        body: dict[str, Any] = request.body
        kind = RequestOutputKind.FINAL_ONLY
        sampling = SamplingParams(max_tokens=body["max_tokens"], temperature=0, ignore_eos=True, output_kind=kind)
        tokens = self._tokenize(body["messages"])
        row = EngineRequest(str(next(self._ids)), tokens, sampling, None, block_hasher=self._hasher)
        done = asyncio.get_running_loop().create_future()
        self._open[row.request_id] = row, done
        self._scheduler.add_request(row)
        await done
        self.work.preemptions += row.num_preemptions
        return Answer(200, b"{}", Usage(len(tokens), body["max_tokens"]))

    async def close(self) -> None:
        """Nothing is held."""

    @property
    def is_idle(self) -> bool:
        """Whether it has no row, or is in a step already."""
        return not self._open or self._planned is not None

    def begin_step(self) -> float:
        """Let the scheduler choose what the next step computes; return how long it takes, in seconds."""
        self._planned = self._scheduler.schedule()
        seconds: float = self._device.step_s + self._device.token_s * self._planned.total_num_scheduled_tokens
        self.work.steps += 1
        self.work.busy_s += seconds
        self.work.slots += len(self._planned.num_scheduled_tokens)
        return seconds

    def end_step(self) -> None:
        """Give a token to each row that is through with its prompt; answer those that have all of theirs."""
        ids = list(self._planned.num_scheduled_tokens)
        rows = [self._open[one][0] for one in ids]
        tokens = [[0] if row.num_computed_tokens >= row.num_tokens else [] for row in rows]
        places = {one: place for place, one in enumerate(ids)}
        clients = self._scheduler.update_from_output(self._planned, ModelRunnerOutput(ids, places, tokens))
        self._planned = None
        outputs = [output for client in clients.values() for output in client.outputs]
        self.work.count_prompts(outputs)
        for output in outputs:
            if output.finish_reason is not None:
                self._open.pop(output.request_id)[1].set_result(None)


def new_scheduler(model: str, device: Device, kind: type[FinalOnly] = FinalOnlyScheduler) -> FinalOnly:
    """Return a scheduler as an engine of ours has it, for a cache of one layer; `model`: its folder."""
    arguments = EngineArgs(
        model,
        block_size=device.block_size,
        max_num_seqs=device.max_num_seqs,
        max_num_batched_tokens=device.max_num_batched_tokens,
        enforce_eager=True,
    )
    config = arguments.create_engine_config()
    blocks = device.kv_tokens // device.block_size
    config.cache_config.num_gpu_blocks = blocks
    layers = FullAttentionSpec(device.block_size, num_kv_heads=1, head_size=64, dtype=torch.bfloat16)
    cache = KVCacheConfig(blocks, [], [KVCacheGroupSpec(["layer"], layers)])
    return kind(config, cache, StructuredOutputManager(config), device.block_size)
