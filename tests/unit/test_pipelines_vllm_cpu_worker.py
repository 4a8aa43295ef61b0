"""A CPU's KV cache, allocated by vLLM on its worker's terms: zero everywhere, and in memory only where it was used."""

from pathlib import Path
from typing import cast

import torch
from vllm.utils.import_utils import resolve_obj_by_qualname
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec, KVCacheTensor
from vllm.v1.kv_cache_layout import KVCacheLayout
from vllm.v1.worker.utils import allocate_kv_cache

from pipelines.engines.vllm.cpu.worker import NAME, UntouchedCacheWorker, UntouchedZeros, untouched

MIB = 1 << 20
BLOCKS, BLOCK_TOKENS, HEADS, HEAD_SIZE = 1024, 32, 8, 128


def allocated() -> dict[str, torch.Tensor]:
    """The cache of two layers, as `UntouchedCacheWorker` has vLLM allocate it: 256 MiB."""
    attention = FullAttentionSpec(
        block_size=BLOCK_TOKENS, num_kv_heads=HEADS, head_size=HEAD_SIZE, dtype=torch.bfloat16
    )
    layer_bytes, layers = attention.page_size_bytes * BLOCKS, ["first", "second"]
    tensor = KVCacheTensor(
        size=2 * layer_bytes, layers=layers, layer_stride=layer_bytes, block_stride=attention.page_size_bytes
    )
    config = KVCacheConfig(BLOCKS, [tensor], [KVCacheGroupSpec(layers, attention)])
    worker = object.__new__(UntouchedCacheWorker)
    with worker._maybe_get_memory_pool_context("kv_cache"):
        return cast("dict[str, torch.Tensor]", allocate_kv_cache(config, torch.device("cpu"), KVCacheLayout.LBHNC))


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


def test_what_no_row_has_used_is_not_in_memory() -> None:
    before = resident_bytes()
    caches = allocated()
    allocation = resident_bytes() - before
    for cache in caches.values():
        cache[: BLOCKS // 4] = 1
    used = resident_bytes() - before

    size = sum(cache.numel() * cache.element_size() for cache in caches.values())
    assert size == 256 * MIB
    assert allocation < 16 * MIB
    assert 63 * MIB <= used < 96 * MIB  # 64; meanwhile the process may have given a page of its own back


def test_a_cache_is_zero_until_it_is_written() -> None:
    cache = allocated()["second"]
    assert not cache[0].any()
    cache[BLOCKS - 1] = 3

    assert (cache[BLOCKS - 1] == 3).all()
    assert not cache[BLOCKS - 2].any()


def test_other_tensors_are_torchs() -> None:
    with UntouchedZeros():
        assert torch.zeros(4, dtype=torch.int64).tolist() == [0] * 4
        assert torch.zeros(2, 2, dtype=torch.int8).tolist() == [[0, 0], [0, 0]]
        assert torch.ones(2, dtype=torch.int8).tolist() == [1, 1]


def test_untouched_bytes_are_ours_alone_to_write() -> None:
    bytes_ = untouched(MIB)
    bytes_.fill_(7)

    assert (bytes_ == 7).all()
    assert not untouched(MIB).any()


def test_vllm_finds_the_worker_by_its_name() -> None:
    assert resolve_obj_by_qualname(NAME) is UntouchedCacheWorker
