"""Answers a file of chat requests with `LLM.chat`, all at once, and writes the answers when it has them all.

Imports nothing of this repository.
"""

import argparse
import json
import time
from pathlib import Path

from vllm import LLM, RequestOutput, SamplingParams


def main() -> None:
    """Read the flags; answer, write, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--engine-args", type=json.loads, default={})
    options = parser.parse_args()

    llm = LLM(options.model, **options.engine_args)
    requests = [json.loads(line) for line in options.requests.read_text().splitlines()]
    chats = [request["body"]["messages"] for request in requests]
    sampling = [
        SamplingParams(max_tokens=request["body"]["max_tokens"], temperature=0, ignore_eos=True) for request in requests
    ]
    admitted_at = time.time()
    answers = llm.chat(chats, sampling, use_tqdm=False)
    ended_at = time.time()
    ids = [request["custom_id"] for request in requests]
    options.output.write_text("".join(map(result_line, ids, answers)))
    completion_tokens = sum(len(answer.outputs[0].token_ids) for answer in answers)
    report = {
        "admitted_at": admitted_at,
        "ended_at": ended_at,
        "rows": len(answers),
        "completion_tokens": completion_tokens,
        "prompt_tokens": sum(len(answer.prompt_token_ids or ()) for answer in answers),
        "cached_tokens": sum(answer.num_cached_tokens or 0 for answer in answers),
    }
    options.report.write_text(json.dumps(report))


def result_line(custom_id: str, answer: RequestOutput) -> str:
    """Return one line of the answers file."""
    output = answer.outputs[0]
    prompt_tokens, completion_tokens = len(answer.prompt_token_ids or ()), len(output.token_ids)
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens}
    line = {"custom_id": custom_id, "content": output.text, "finish_reason": output.finish_reason, "usage": usage}
    return json.dumps(line) + "\n"


if __name__ == "__main__":
    main()
