"""Answers a file of greedy chat requests as fast as the engine can: tokens made before, equal rows once, best order.

Imports nothing of this repository.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vllm import LLM, SamplingParams

Asked = tuple[tuple[int, ...], int]
"""The token ids of a prompt, and how many tokens are to be answered."""

ORDERS: dict[str, Callable[[Asked], Any]] = {
    "beginning": lambda asked: asked,  # prompts that share a prefix stand together
    "longest": lambda asked: -asked[1],
}


def main() -> None:
    """Read the flags; tokenize, count, sort; answer; report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--order", choices=ORDERS, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--engine-args", type=json.loads, default={})
    options = parser.parse_args()

    llm = LLM(options.model, **options.engine_args)
    tokenizer = llm.get_tokenizer()
    rows: Counter[Asked] = Counter()
    for line in options.requests.read_text().splitlines():
        body = json.loads(line)["body"]
        tokens = tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, return_dict=False)
        rows[tuple(tokens), body["max_tokens"]] += 1
    asked = sorted(rows, key=ORDERS[options.order])
    prompts = [{"prompt_token_ids": list(tokens)} for tokens, _ in asked]
    sampling = [
        SamplingParams(max_tokens=limit, temperature=0, ignore_eos=True, detokenize=False) for _, limit in asked
    ]
    admitted_at = time.time()
    answers = llm.generate(prompts, sampling, use_tqdm=False)
    ended_at = time.time()
    report = {
        "admitted_at": admitted_at,
        "ended_at": ended_at,
        "rows": rows.total(),
        "completion_tokens": sum(
            rows[one] * len(answer.outputs[0].token_ids) for one, answer in zip(asked, answers, strict=True)
        ),
        "prompt_tokens": sum(len(tokens) for tokens, _ in asked),
        "cached_tokens": sum(answer.num_cached_tokens or 0 for answer in answers),
    }
    options.report.write_text(json.dumps(report))


if __name__ == "__main__":
    main()
