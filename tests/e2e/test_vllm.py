"""The main job on real vLLM: the same answers as vLLM's own runner and server, and right ones."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attempts import check_gone
from long_run import long_only
from processes import descendants
from vllm_runs import (
    CPU_ENVIRONMENT,
    QUESTIONS,
    SERVED_NAME,
    Answered,
    Row,
    comparable,
    engine_flags,
    near,
    parity_rows,
    read_output,
    run_batch,
    run_ours,
    server,
    write_rows,
)

from pipelines.models import ARITHMETIC_MODEL
from pipelines.models.questions import held_out_questions

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

REFUSED = {"bad-url": 404, "stream": 400, "wrong-model": 404, "too-long": 400, "no-embeddings": 404}
RUN_BATCHS_OWN = {"bad-url": 400, "no-embeddings": 400}
"""Where vLLM's batch runner and its server give two statuses, ours is the server's."""


@pytest.fixture(scope="session")
def requests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("requests") / "requests.jsonl", parity_rows())


@pytest.fixture(scope="session")
def ours(requests: Path, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    return run_ours(requests, tmp_path_factory.mktemp("ours"), *engine_flags())


def test_every_row_is_answered_once_in_input_order(ours: Answered) -> None:
    assert ours.exit_code == 0
    given = [row["custom_id"] for row in parity_rows()]
    assert set(ours.rows) == set(given)
    succeeded = [row for row in ours.rows.values() if row["error"] is None]
    order = [json.loads(line)["custom_id"] for part in sorted(ours.output.glob("results/*")) for line in part.open()]
    assert order == [custom_id for custom_id in given if custom_id not in REFUSED]
    manifest = json.loads((ours.output / "manifest.json").read_text())
    assert manifest["state"] == "COMPLETED"
    assert manifest["lines"] == manifest["blank"] + manifest["succeeded"] + manifest["failed"] == len(given)
    assert manifest["usage"]["completion_tokens"] == sum(
        row["response"]["body"]["usage"]["completion_tokens"]  # type: ignore[index]
        for row in succeeded
    )


def test_the_shipped_model_answers_right(ours: Answered) -> None:
    right = 0
    for index, (_, answer) in enumerate(held_out_questions(QUESTIONS, 11)):
        body = ours.rows[f"question-{index}"]["response"]["body"]  # type: ignore[index]
        right += body["choices"][0]["message"]["content"].strip() == answer
    assert right >= 0.95 * QUESTIONS


def test_bodies_and_status_codes_are_those_of_vllm_run_batch(
    ours: Answered, requests: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    theirs = run_batch(requests, tmp_path_factory.mktemp("run_batch") / "output.jsonl")
    assert set(theirs) == set(ours.rows)
    for custom_id, their_row in theirs.items():
        their, our = their_row["response"], ours.rows[custom_id]["response"]
        assert our["status_code"] == REFUSED.get(custom_id, their["status_code"]), custom_id  # type: ignore[index]
        if custom_id not in REFUSED:
            assert comparable(our["body"]) == near(comparable(their["body"])), custom_id  # type: ignore[index]
    told = {custom_id: theirs[custom_id]["response"]["status_code"] for custom_id in REFUSED}  # type: ignore[index]
    assert told == REFUSED | RUN_BATCHS_OWN
    assert len(ours.rows["n-3"]["response"]["body"]["choices"]) == 3  # type: ignore[index]
    # A model of arithmetic has little to say in tool calls; that it was made to try shows that the tools reached it.
    called = ours.rows["tools"]["response"]["body"]["choices"][0]["message"]  # type: ignore[index]
    assert called.get("tool_calls") or called["content"].startswith("<tool_call>")


def test_the_openai_engine_gives_the_same_rows(
    ours: Answered, requests: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with server() as base_url:
        output = tmp_path_factory.mktemp("openai")
        remote = run_ours(requests, output, "--engine", "openai", "--engine-arg", f"base_url={base_url}")
    assert remote.exit_code == 0
    assert set(remote.rows) == set(ours.rows)
    for custom_id, our_row in ours.rows.items():
        their_row = remote.rows[custom_id]
        assert (their_row["error"] is None) == (our_row["error"] is None), custom_id
        if custom_id not in REFUSED:
            assert comparable(their_row["response"]) == near(comparable(our_row["response"])), custom_id


EXPLODING = "root ::= (([a-z]{1,1000}){1,1000}){1,1000}"


@long_only
def test_a_row_whose_grammar_explodes_fails_and_its_neighbours_are_answered(tmp_path: Path) -> None:
    rows = parity_rows()[:QUESTIONS]
    body = {"messages": [{"role": "user", "content": "z"}], "max_tokens": 400, "min_tokens": 400}
    rows.insert(5, {"custom_id": "bad", "body": body | {"structured_outputs": {"grammar": EXPLODING}}})
    requests = write_rows(tmp_path / "requests.jsonl", rows)

    ended = run_ours(requests, tmp_path / "output", "--row-timeout", "60s", *engine_flags())

    assert ended.exit_code == 0
    assert {custom_id for custom_id, row in ended.rows.items() if row["error"] is not None} == {"bad"}
    error = ended.rows["bad"]["error"]
    assert (error["code"], error["message"].partition(",")[0]) == (  # type: ignore[index]
        "internal",
        "the structured output refused a token",
    )
    log = (tmp_path / "output/_job/logs/attempt-00000001.log").read_text()
    assert len(re.findall(r"structured output \(grammar of 42 characters\) takes [\d.]+ s for a token", log)) == 1


KILLED_ROWS = 12_000
"""More than an engine has open: the first shards are committed while others wait."""


def test_killed_engine_and_killed_worker_lose_nothing(tmp_path: Path) -> None:
    rows: list[Row] = [
        {"custom_id": f"k-{index}", "body": {"messages": [{"role": "user", "content": question}]}}
        for index, (question, _) in enumerate(held_out_questions(KILLED_ROWS, 5))
    ]
    requests = write_rows(tmp_path / "requests.jsonl", rows)
    output = tmp_path / "output"
    command = [sys.executable, "-m", "batch", "run", str(requests), "--model", str(ARITHMETIC_MODEL), "--output"]
    command += [str(output), "--served-model-name", SERVED_NAME, "--max-tokens", "12", "--temperature", "0"]
    first = subprocess.Popen(command, env=os.environ | CPU_ENVIRONMENT)
    await_commits(output, 1)
    next(process for process in descendants(first.pid) if "EngineCore" in process.command).kill()
    await_commits(output, 3)
    kept = {path.name: path.read_bytes() for path in (output / "_job/commits").glob("[!.]*")}
    family = descendants(first.pid)
    engine = [process for process in family if re.search("EngineCore|EngineHost|MapWorker", process.command)]
    assert engine
    next(p for p in family if p.parent == first.pid and "pipelines.worker" in p.command).kill()
    assert first.wait(60) == 1
    check_gone(lambda: [process for process in engine if process.is_alive], within_s=20)
    assert subprocess.run(command, env=os.environ | CPU_ENVIRONMENT, timeout=280, check=False).returncode == 0
    assert set(read_output(output)) == {row["custom_id"] for row in rows}
    for name, content in kept.items():
        assert (output / "_job/commits" / name).read_bytes() == content
    manifest = json.loads((output / "manifest.json").read_text())
    assert (manifest["succeeded"], manifest["failed"], manifest["attempts"]) == (KILLED_ROWS, 0, 2)


def await_commits(output: Path, count: int) -> None:
    commits = output / "_job" / "commits"
    give_up_at = time.monotonic() + 200
    while not commits.exists() or len(list(commits.glob("*.json"))) < count:
        assert time.monotonic() < give_up_at, "no commits in time"
        time.sleep(0.05)
