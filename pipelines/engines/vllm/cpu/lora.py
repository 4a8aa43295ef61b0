"""How many adapters a CPU engine must have room for, so that rows without an adapter get none.

vLLM keeps adapters in slots. Its CPU kernels compute a row without an adapter, of index -1, with the last slot: right
only as long as that slot is empty. GPU kernels leave such rows out. docs/decisions/0023.
"""

import torch
from vllm.lora.ops.torch_ops import bgmv_expand, bgmv_shrink


def slots(adapters: int, asked: int) -> int:
    """Return how many slots keep the last one empty, of an engine with so many adapters; at least those `asked` for."""
    return max(asked, adapters + 1) if adapters and minus_one_is_the_last_slot() else asked


def minus_one_is_the_last_slot() -> bool:
    """Whether vLLM's kernels add the last slot's adapter to a row without one, as those of 0.32 do."""
    row, weights, nobody = torch.ones(1, 1), torch.ones(1, 1, 1, 1), torch.tensor([-1])
    shrunk, expanded = torch.zeros(1, 1), torch.zeros(1, 1)
    bgmv_shrink(row, weights, shrunk, nobody)
    bgmv_expand(row, weights, expanded, nobody)
    return bool(shrunk.any() or expanded.any())
