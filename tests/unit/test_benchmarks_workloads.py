"""Request files of the benchmarks: repeatable, of the promised size, and requests that we accept."""

from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from specs import job_spec

from batch.rows.request import Decoder, Request
from benchmarks.workloads import (
    Workload,
    write_chat,
    write_documents,
    write_duplicates,
    write_few_shot,
    write_long,
    write_mixed,
    write_prompts,
    write_scattered,
    write_short,
    write_tiny,
)
from connectors.datasets.lines import Line


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


def test_questions_on_a_subject_share_a_prefix_and_the_cache_holds_a_quarter_of_the_examples(tmp_path: Path) -> None:
    workload = write_few_shot(tmp_path, 570)
    bodies = [orjson.loads(line)["body"] for line in workload.requests.read_bytes().splitlines()]
    beginnings = [body["messages"][0]["content"][:400] for body in bodies]
    assert len(set(beginnings)) == 57
    assert beginnings != sorted(beginnings)
    assert workload.kv_tokens == 57 * 600 // 4


def test_the_same_questions_with_a_cache_that_holds_all_examples(tmp_path: Path) -> None:
    short, long = (write_few_shot(tmp_path, 100, kv_share=share) for share in (0.25, 4))

    assert (short.name, long.name) == ("few-shot-100", "few-shot-fits-100")
    assert short.digest == long.digest
    assert long.kv_tokens == 4 * 57 * 600


def test_long_answers_come_last_or_anywhere(tmp_path: Path) -> None:
    def budgets(workload: Workload) -> list[int]:
        return [orjson.loads(line)["body"]["max_tokens"] for line in workload.requests.read_bytes().splitlines()]

    last, anywhere = (write_long(tmp_path, 200, shuffled=shuffled) for shuffled in (False, True))

    assert budgets(last) == [32] * 180 + [512] * 20
    assert sorted(budgets(anywhere)) == budgets(last) != budgets(anywhere)
    assert last.completion_tokens == anywhere.completion_tokens == 180 * 32 + 20 * 512


def test_questions_that_share_a_prefix_stand_far_apart(tmp_path: Path) -> None:
    workload = write_scattered(tmp_path, 400)
    lines = workload.requests.read_bytes().splitlines()
    beginnings = [orjson.loads(line)["body"]["messages"][0]["content"][:150] for line in lines]
    assert 90 < len(set(beginnings)) <= 100
    assert sum(one == other for one, other in pairwise(beginnings)) < 20
    assert workload.kv_tokens == 100 * 200 // 4


def test_chats_share_no_prefix_worth_caching(tmp_path: Path) -> None:
    lines = write_chat(tmp_path, 200).requests.read_bytes().splitlines()
    prompts = [orjson.loads(line)["body"]["messages"][0]["content"] for line in lines]
    assert len({prompt[:40] for prompt in prompts}) == len(prompts)


def messages(workload: Workload) -> list[list[dict[str, str]]]:
    lines = workload.requests.read_bytes().splitlines()
    return [orjson.loads(line)["body"]["messages"] for line in lines]


def test_records_stand_below_one_of_so_many_system_prompts(tmp_path: Path) -> None:
    rows = messages(write_prompts(tmp_path, 600, prompts=50))

    assert [[message["role"] for message in row] for row in rows] == [["system", "user"]] * 600
    assert len({row[0]["content"] for row in rows}) == 50
    assert write_prompts(tmp_path, 600, prompts=50).kv_tokens == 50 * 400 // 4
    assert write_prompts(tmp_path, 600, prompts=1).kv_tokens is None


def test_questions_on_a_document_share_a_prefix(tmp_path: Path) -> None:
    workload = write_documents(tmp_path, 80)
    beginnings = [row[0]["content"][:800] for row in messages(workload)]

    assert len(set(beginnings)) <= 80 // 8
    assert beginnings != sorted(beginnings)
    assert workload.kv_tokens is not None
    assert 10 * 1000 / 4 <= workload.kv_tokens <= 10 * 3450 / 4


def test_short_rows_are_all_different(tmp_path: Path) -> None:
    prompts = [row[0]["content"] for row in messages(write_short(tmp_path, 2000))]

    assert len(set(prompts)) == 2000


def test_the_mix_holds_a_third_of_each_in_no_order(tmp_path: Path) -> None:
    rows = messages(write_mixed(tmp_path, 300))
    kinds = ["record" if len(row) == 2 else "question" if len(row[0]["content"]) > 1000 else "chat" for row in rows]

    assert {kind: kinds.count(kind) for kind in kinds} == {"record": 100, "question": 100, "chat": 100}
    assert len(set(kinds[:20])) == 3


def test_every_row_decodes_to_a_request(tmp_path: Path) -> None:
    decoder = Decoder(job_spec(served_model_names=("bench",)))
    for workload in (write_chat(tmp_path, 20), write_tiny(tmp_path, 20), write_mixed(tmp_path, 30)):
        lines = workload.requests.read_bytes().splitlines()
        decoded = [decoder.decode("rows.jsonl", Line(n + 1, 0, raw)) for n, raw in enumerate(lines)]
        assert all(isinstance(request, Request) for request in decoded), decoded
