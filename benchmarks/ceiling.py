"""How many prompt tokens a prefix cache without end would serve. Knows nothing of arms."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import orjson
from transformers import AutoTokenizer

from benchmarks.workloads import Workload

Tokenize = Callable[[Sequence[dict[str, str]]], list[int]]
"""From a chat's messages to token ids."""


def ceiling_share(workload: Workload, model: str, *, block_size: int) -> float:
    """Return the share of a workload's prompt tokens that a cache without end would serve; `model`: its folder."""
    tokenize = chat_tokenizer(model)
    lines = workload.requests.read_bytes().splitlines()
    prompts = [tokenize(orjson.loads(line)["body"]["messages"]) for line in lines]
    return cached_at_most(prompts, block_size=block_size) / sum(map(len, prompts))


def chat_tokenizer(model: str) -> Tokenize:
    """Return what makes tokens of a chat as the model's engine does; `model`: its folder."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    return partial(tokenizer.apply_chat_template, add_generation_prompt=True, return_dict=False)


def cached_at_most(prompts: Iterable[Sequence[int]], *, block_size: int) -> int:
    """Return how many tokens of `prompts` (token ids) stand in blocks that an earlier prompt began with too.

    By vLLM's rules: whole blocks only, each together with all before it, and never a prompt's last token, which is
    always computed.
    """
    known: dict[tuple[int, tuple[int, ...]], int] = {}
    cached = 0
    for prompt in sorted(prompts, key=len):  # a short one may use less than it leaves to a longer one
        usable = (len(prompt) - 1) // block_size * block_size
        node = 0
        for start in range(0, len(prompt) // block_size * block_size, block_size):
            block = node, tuple(prompt[start : start + block_size])
            if block in known and start < usable:
                cached += block_size
            node = known.setdefault(block, len(known) + 1)
    return cached
