"""How rows begin, and what an order by beginning would save."""

import random
from itertools import groupby

import orjson
import pytest
from specs import job_spec

from batch.planning.prefixes import WINDOW_ROWS, PromptReader, Survey, sort_key
from connectors.datasets.lines import Line

ENDLESS = 1 << 60


def line(row: object) -> Line:
    return Line(1, 0, row if isinstance(row, bytes) else orjson.dumps(row))


def text(row: object, **spec: object) -> bytes:
    return PromptReader(job_spec(**spec)).text("memory://in.jsonl", line(row))


def words(seed: int, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes // 2).hex().encode()


def surveyed(texts: list[bytes], window_bytes: int = ENDLESS) -> Survey:
    survey = Survey(window_bytes)
    for row in texts:
        survey.add(row)
    return survey


def saving(texts: list[bytes], window_bytes: int = ENDLESS) -> float:
    return surveyed(texts, window_bytes).saving()


def alike(texts: list[bytes]) -> float:
    return surveyed(texts).alike()


@pytest.mark.parametrize(
    ("row", "begins"),
    [
        ({"custom_id": "a", "body": {"model": "m", "messages": [{"role": "user"}]}}, b'"messages":[{"role":"user"}]'),
        ({"custom_id": "a", "prompt": "Once"}, b'"prompt":"Once"'),
        ({"custom_id": "a", "body": {"input": ["x"]}}, b'"input":["x"]'),
        (b"not json", b"not json"),
    ],
)
def test_a_text_begins_where_the_prompt_does(row: object, begins: bytes) -> None:
    assert text(row).startswith(begins)


def test_of_a_templated_row_the_filled_template_counts() -> None:
    template = "Subject {subject}: {question}"

    alike = [text({"question": n, "subject": "law"}, prompt_template=template) for n in ("why", "who")]

    assert b"Subject law: why" in alike[0]
    assert alike[0].split(b"law")[0] == alike[1].split(b"law")[0]
    assert text({"question": "no subject"}, prompt_template=template) == b'{"question":"no subject"}'


@pytest.mark.parametrize(
    ("body", "begins"),
    [
        ({"messages": [{"role": "user"}]}, b"[{'role'"),
        ({"prompt": "why"}, b"'why'"),
        ({"query": "x"}, b"{'query': 'x'"),
    ],
)
def test_a_request_among_templated_rows_begins_with_its_input(body: dict[str, object], begins: bytes) -> None:
    url = {"url": "/v1/rerank"} if "query" in body else {}
    assert text({"custom_id": "a", "body": body, **url}, prompt_template="{question}").startswith(begins)


def test_sorted_texts_that_share_a_prefix_stand_together_those_with_a_longer_one_closer() -> None:
    documents = [words(n, 3000) for n in range(20)]
    sections = [(n, document + words(n + 100 * m, 2000)) for n, document in enumerate(documents) for m in (1, 2)]
    rows = [(n, m, section + words(row, 80)) for m, (n, section) in enumerate(sections) for row in range(5)]
    random.Random(1).shuffle(rows)

    rows.sort(key=lambda row: sort_key(row[2]))

    assert len([n for n, _ in groupby(rows, key=lambda row: row[0])]) == 20
    assert len([m for m, _ in groupby(rows, key=lambda row: row[1])]) == 40


def test_rows_that_have_nothing_in_common_save_nothing() -> None:
    assert saving([words(n, 400) for n in range(3 * WINDOW_ROWS)]) < 0.001  # two checksums may be equal


def test_what_one_window_holds_saves_nothing() -> None:
    assert saving([words(n % 10, 512) + words(n, 100) for n in range(WINDOW_ROWS)]) == 0


def test_groups_scattered_over_windows_save_what_each_window_computes_again() -> None:
    texts = [words(n % 2048, 1024) + words(n, 100) for n in range(4 * WINDOW_ROWS)]

    assert saving(texts) == pytest.approx(3 * 2048 * 1024 / sum(map(len, texts)))
    assert saving(sorted(texts)) < 0.001, "they stand together already"


def test_a_window_ends_with_its_bytes_too() -> None:
    texts = [words(n % 10, 512) for n in range(80)]

    assert saving(texts, window_bytes=40 * 512) == pytest.approx(10 / 80)


def test_a_beginning_counts_up_to_its_end() -> None:
    assert saving([b"short"] * 3 * WINDOW_ROWS) == pytest.approx(2 / (3 * WINDOW_ROWS))


def test_what_rows_near_each_other_begin_with_is_alike_and_equal_rows_are_not() -> None:
    assert alike([words(n, 400) for n in range(100)]) == 0
    assert alike([words(n % 10, 400) for n in range(100)]) == 0
    assert alike([words(n % 10, 512) + words(n, 88) for n in range(100)]) == pytest.approx(90 * 512 / 100 / 600)
    assert alike([words(n % 2, 10_000) + words(n, 200) for n in range(4)]) == pytest.approx(2 * 8192 / 4 / 10_200)
    assert alike([]) == 0


def test_of_very_many_beginnings_a_sample_is_close_and_small() -> None:
    survey = surveyed([b"%d" % n for n in range(200_000)])

    assert survey.saving() < 0.03
    assert len(survey._beginnings._kept) <= 1 << 16
