"""Real vLLM for tests, started as few times as possible: ours, `run_batch` and an HTTP server over one request file."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.questions import held_out_questions

SERVED_NAME = "arithmetic"
QUESTIONS = 200
ENGINE = {"dtype": "float32", "max_model_len": "2048", "tool_call_parser": "hermes"}
NOT_SHARED = frozenset({"id", "request_id", "created", "created_at", "completed_at", "system_fingerprint"})
TOOLS_FLAG = "enable_auto_tool_choice"
CPU_ENVIRONMENT = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_WAIT_POLICY": "passive", "VLLM_NO_USAGE_STATS": "1"}

Row = dict[str, object]

ADD_TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
            "additionalProperties": False,
        },
    },
}
ANSWER_SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "schema": {
            "type": "object",
            "properties": {"answer": {"type": "integer"}},
            "required": ["answer"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True)
class Answered:
    """The lines of one run by custom_id, and how the command ended."""

    rows: dict[str, Row]
    exit_code: int
    output: Path


def parity_rows() -> list[Row]:
    """One row of each kind that the serving layer treats differently, among plain questions."""
    rows = [
        _row(f"question-{index}", question) for index, (question, _) in enumerate(held_out_questions(QUESTIONS, 11))
    ]
    rows += [
        _row("n-3", "What is 12 + 30?", n=3, temperature=0.7, seed=7),
        _row("logprobs", "What is 5 + 6?", logprobs=True, top_logprobs=3),
        _row("stop", "Compute 93 - 48.", stop=["5"]),
        _row("schema", "What is 4 + 4?", response_format=ANSWER_SCHEMA, max_tokens=40),
        _row("tools", "What is 4 + 4?", tools=[ADD_TOOL], tool_choice="required", max_tokens=60),
        _row("bad-url", "What is 1 + 1?") | {"url": "/v1/nonsense"},
        _row("stream", "What is 1 + 1?", stream=True),
        _row("wrong-model", "What is 1 + 1?", model="another"),
        _row("too-long", "1 2 3 " * 3000),
        _row("no-embeddings", "") | {"url": "/v1/embeddings", "body": {"model": SERVED_NAME, "input": "one"}},
    ]
    return rows


def _row(custom_id: str, question: str, **body: object) -> Row:
    messages = [{"role": "user", "content": question}]
    body = {"model": SERVED_NAME, "messages": messages, "temperature": 0, "max_tokens": 12} | body
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def write_rows(path: Path, rows: list[Row]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run_ours(requests: Path, output: Path, *flags: str, timeout_s: float = 280) -> Answered:
    """`batchctl run` over a request file, with the shipped model."""
    command = [sys.executable, "-m", "batch", "run", str(requests), "--model", str(ARITHMETIC_MODEL)]
    command += ["--served-model-name", SERVED_NAME, "--output", str(output), *flags]
    ended = subprocess.run(command, env=os.environ | CPU_ENVIRONMENT, timeout=timeout_s, check=False)
    return Answered(read_output(output), ended.returncode, output)


def engine_flags() -> list[str]:
    arguments = ENGINE | {TOOLS_FLAG: "true"}
    return [word for name, value in arguments.items() for word in ("--engine-arg", f"{name}={value}")]


def read_output(output: Path) -> dict[str, Row]:
    """Every line of results and errors by its custom_id; a custom_id that stands twice fails."""
    lines = [
        json.loads(line)
        for part in sorted([*output.glob("results/*"), *output.glob("errors/*")])
        for line in part.read_bytes().splitlines()
    ]
    rows = {line["custom_id"]: line for line in lines}
    assert len(rows) == len(lines), "a custom_id stands twice in the output"
    return rows


def run_batch(requests: Path, output: Path) -> dict[str, Row]:
    """vLLM's own batch runner over the same file."""
    command = [sys.executable, "-m", "vllm.entrypoints.launchers.run_batch", "-i", str(requests), "-o", str(output)]
    subprocess.run(command + _vllm_flags(), env=os.environ | CPU_ENVIRONMENT, timeout=280, check=True)
    lines = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    return {line["custom_id"]: line for line in lines}


@contextmanager
def server(*flags: str) -> Iterator[str]:
    """An OpenAI-compatible vLLM server on loopback; yields its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([*command, *_vllm_flags(), *flags], env=os.environ | CPU_ENVIRONMENT)
    try:
        _await_answer(f"http://127.0.0.1:{port}/health", process)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait(60)


def _vllm_flags() -> list[str]:
    flags = ["--model", str(ARITHMETIC_MODEL), "--served-model-name", SERVED_NAME, "--enforce-eager"]
    flags += ["--block-size", "32", f"--{TOOLS_FLAG.replace('_', '-')}"]
    return flags + [word for name, value in ENGINE.items() for word in (f"--{name.replace('_', '-')}", value)]


def _await_answer(url: str, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + 200
    while time.monotonic() < give_up_at:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(1)
    raise TimeoutError(f"{url} did not answer in time")


def comparable(value: object) -> object:
    """A body without what no two runs share: ids, times, and the fingerprint of the engine's configuration."""
    if isinstance(value, dict):
        return {name: comparable(item) for name, item in value.items() if name not in NOT_SHARED}
    if isinstance(value, list):
        return [comparable(item) for item in value]
    return value


def near(value: object) -> object:
    """What equals `value` but for the fourth digit of its floats, which are log-probabilities.

    The kernels give other last digits when other rows share a step (measured: -12.71372 and -12.71324 in float32).
    """
    if isinstance(value, dict):
        return {name: near(item) for name, item in value.items()}
    if isinstance(value, list):
        return [near(item) for item in value]
    return pytest.approx(value, rel=1e-3, abs=1e-6) if isinstance(value, float) else value
