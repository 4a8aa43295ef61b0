"""vLLM's worker on CPUs, but for its KV cache: memory of the system's that nobody touches before a row needs it.

vLLM fills its cache with zeros, page by page; what the system gives out is zero already. docs/decisions/0015.
"""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from vllm.v1.worker.cpu_worker import CPUWorker

from pipelines import seams

NAME = f"{__name__}.UntouchedCacheWorker"
VLLMS_OWN = f"{CPUWorker.__module__}.{CPUWorker.__qualname__}"


class UntouchedZeros(TorchFunctionMode):
    """While it is entered, `torch.zeros(bytes, dtype=torch.int8)` is a tensor of pages that nobody has touched."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        named = kwargs or {}
        if func is torch.zeros and len(args) == 1 and isinstance(args[0], int) and named.get("dtype") is torch.int8:
            return untouched(args[0])
        return func(*args, **named)


class UntouchedCacheWorker(CPUWorker):
    """Allocates the KV cache by vLLM's own hook for that."""

    def _maybe_get_memory_pool_context(self, tag: str) -> AbstractContextManager[object]:
        if tag == "kv_cache":
            return UntouchedZeros()
        pool: AbstractContextManager[object] = super()._maybe_get_memory_pool_context(tag)
        return pool


def probe() -> None:
    """Raise Unexpected unless vLLM asks its worker for the KV cache's place by the method replaced here."""
    seams.expect(CPUWorker, "_maybe_get_memory_pool_context")
    seams.expect_use(CPUWorker.initialize_from_config, "_maybe_get_memory_pool_context", "kv_cache")


def untouched(size: int) -> Tensor:
    """Return `size` bytes, all zero, of which the system has none in memory yet."""
    return torch.frombuffer(mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS), dtype=torch.int8)
