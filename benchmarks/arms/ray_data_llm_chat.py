"""Answers a file of chat requests with `ray.data.llm`, from JSONL to JSONL.

Imports nothing of this repository.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import ray
from ray.data.llm import build_processor, vLLMEngineProcessorConfig


def main() -> None:
    """Read the flags; answer, write, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--requests", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--first-request", type=Path, required=True, help="where its engine says when that came")
    parser.add_argument("--engine-args", type=json.loads, default={})
    parser.add_argument("--processor-args", type=json.loads, default={})
    parser.add_argument("--environment", type=json.loads, default={})
    options = parser.parse_args()

    # Its actors wait for ever for two logical CPUs, and where there is no GPU its engine must be told so.
    ray.init(address="local", num_cpus=8, include_dashboard=False, runtime_env={"env_vars": options.environment})
    config = vLLMEngineProcessorConfig(
        model_source=options.model,
        engine_kwargs=options.engine_args,
        placement_group_config={"bundles": [{"CPU": 1}]},
        log_engine_metrics=False,
        **options.processor_args,
    )
    processor = build_processor(config, preprocess=request_of, postprocess=answer_of)
    processor(ray.data.read_json(str(options.requests))).write_json(str(options.output))
    ended_at = time.time()
    answers = [json.loads(line) for part in options.output.glob("*.json") for line in part.open()]
    report = {
        "admitted_at": float(options.first_request.read_text()),
        "ended_at": ended_at,
        "rows": len(answers),
        "completion_tokens": sum(answer["completion_tokens"] for answer in answers),
    }
    options.report.write_text(json.dumps(report))


def request_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return what the processor asks of a row of the file."""
    body = row["body"]
    sampling = {"max_tokens": body["max_tokens"], "temperature": 0, "ignore_eos": True}
    return {"custom_id": row["custom_id"], "messages": body["messages"], "sampling_params": sampling}


def answer_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return what is written of a row."""
    return {
        "custom_id": row["custom_id"],
        "content": row["generated_text"],
        "completion_tokens": row["num_generated_tokens"],
    }


if __name__ == "__main__":
    main()
