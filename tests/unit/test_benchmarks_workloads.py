"""Request files of the benchmarks: repeatable, of the promised size, and requests that we accept."""

from pathlib import Path

import orjson
import pytest
from specs import job_spec

from batch.request import Decoder, Request
from benchmarks.workloads import write_chat, write_duplicates, write_few_shot, write_tiny
from connectors.lines import Line


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = write_chat(tmp_path / "a", 50, seed=1)
    assert write_chat(tmp_path / "b", 50, seed=1).requests.read_bytes() == first.requests.read_bytes()
    assert write_chat(tmp_path / "c", 50, seed=2).digest != first.digest


def test_the_workload_counts_the_rows_and_the_tokens_that_its_lines_ask_for(tmp_path: Path) -> None:
    workload = write_chat(tmp_path, 200)
    bodies = [orjson.loads(line)["body"] for line in workload.requests.read_bytes().splitlines()]
    assert len(bodies) == workload.rows == 200
    assert sum(body["max_tokens"] for body in bodies) == workload.completion_tokens
    assert {body["max_tokens"] for body in bodies} <= set(range(4, 33))
    assert all(body["ignore_eos"] and body["temperature"] == 0 for body in bodies)


@pytest.mark.parametrize("share", [0.3, 0.6])
def test_the_promised_share_of_rows_repeats_another(share: float, tmp_path: Path) -> None:
    workload = write_duplicates(tmp_path, 200, share=share)
    bodies = [orjson.loads(line)["body"] for line in workload.requests.read_bytes().splitlines()]
    assert len(bodies) == workload.rows == 200
    assert len({orjson.dumps(body) for body in bodies}) == round(200 * (1 - share))
    assert sum(body["max_tokens"] for body in bodies) == workload.completion_tokens


def test_questions_on_a_subject_begin_alike_and_the_cache_holds_a_quarter_of_the_examples(tmp_path: Path) -> None:
    workload = write_few_shot(tmp_path, 570)
    bodies = [orjson.loads(line)["body"] for line in workload.requests.read_bytes().splitlines()]
    beginnings = [body["messages"][0]["content"][:400] for body in bodies]
    assert len(set(beginnings)) == 57
    assert beginnings != sorted(beginnings)
    assert workload.kv_tokens == 57 * 600 // 4


def test_chats_share_no_prefix_worth_caching(tmp_path: Path) -> None:
    lines = write_chat(tmp_path, 200).requests.read_bytes().splitlines()
    prompts = [orjson.loads(line)["body"]["messages"][0]["content"] for line in lines]
    assert len({prompt[:40] for prompt in prompts}) == len(prompts)


def test_every_row_decodes_to_a_request(tmp_path: Path) -> None:
    decoder = Decoder(job_spec(served_model_names=("bench",)))
    for workload in (write_chat(tmp_path, 20), write_tiny(tmp_path, 20)):
        lines = workload.requests.read_bytes().splitlines()
        decoded = [decoder.decode("rows.jsonl", Line(n + 1, 0, raw)) for n, raw in enumerate(lines)]
        assert all(isinstance(request, Request) for request in decoded), decoded
