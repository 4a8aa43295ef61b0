"""The look at a job's first rows: which of its settings makes all of them fail, and what is odd about them."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from specs import chat_line, job_spec

from batch.planning.first_rows import (
    FIRST_BYTES,
    FIRST_ROWS,
    LINE_BYTES,
    MOST_FILES,
    FirstRows,
    first_lines,
    look,
    request_fields,
)
from batch.rows.request import ENDPOINTS
from connectors.datasets.reader import InputFile, find_inputs

RAW = {"question": "1+1?", "answer": "2"}
MISSPELT = "temprature, in 2 of the first 3 rows: /v1/chat/completions has no such parameter; did you mean temperature?"


def written(folder: Path, name: str, rows: list[object]) -> InputFile:
    path = folder / name
    path.write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))
    return find_inputs([str(path)])[0]


def looked(folder: Path, rows: list[object], **spec: Any) -> FirstRows:
    return look(job_spec(**spec), [written(folder, "in.jsonl", rows)])


@pytest.mark.parametrize(
    ("row", "spec", "code", "words"),
    [
        (chat_line(model="gpt-4o"), {}, "model_mismatch", "--row-model ignore"),
        (chat_line() | {"url": "/v1/audio"}, {}, "unsupported_endpoint", "/v1/audio"),
        (chat_line() | {"method": "GET"}, {}, "unsupported_endpoint", "GET"),
        (RAW, {}, "invalid_parameter", "--prompt-template"),
        (RAW, {"prompt_template": "{qestion}"}, "invalid_parameter", "qestion"),
        (RAW, {"messages_template": [{"role": "user", "content": "{qestion}"}]}, "invalid_parameter", "qestion"),
        (RAW, {"prompt_template": "{question}", "id_field": "number"}, "missing_custom_id", "number"),
    ],
)
def test_rows_that_all_fail_for_one_setting_of_the_job_are_told_by_the_first(
    tmp_path: Path, row: object, spec: dict[str, Any], code: str, words: str
) -> None:
    found = looked(tmp_path, [b"", b"{", *[row] * 3], **spec)

    assert found.failure is not None
    assert (found.failure.code, found.failure.place.line) == (code, 3)
    assert words in found.failure.message
    assert found.rows == 4


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [b"{", b"not json"],  # nothing that the job's settings could be wrong for
        [chat_line(model="gpt-4o"), chat_line()],
        [chat_line(model="gpt-4o"), chat_line() | {"url": "/v1/audio"}],
        [chat_line(model="gpt-4o"), chat_line(temperature=9)],
        [chat_line(temperature=9)] * 3,  # the rows' own fault
        [{"custom_id": "a", "body": {}}],
        [{"messages": "text"}],
    ],
)
def test_other_rows_are_no_reason_not_to_start(tmp_path: Path, rows: list[object]) -> None:
    assert looked(tmp_path, rows).failure is None


@pytest.mark.parametrize(
    ("rows", "spec", "warnings"),
    [
        ([chat_line(temprature=0), chat_line(temprature=1), chat_line(seed=1)], {}, (MISSPELT,)),
        ([chat_line(my_own_field=0, top_n=1, maximum=3)], {}, ("top_n, in 1 of the first row",)),
        ([{"prompt": "1+1?", "max_token": 3}], {}, ("did you mean max_tokens?",)),
        (
            [RAW],
            {"prompt_template": "{question}", "carry": ("anwser", "level")},
            (
                "--carry anwser: none of the first row has it; did you mean answer?",
                "--carry level: none of the first row has it.",
            ),
        ),
        (
            [RAW],
            {"prompt_template": "{question}{sense}"},
            ("the template's field sense: none of the first row has it.",),
        ),
        ([RAW, {"level": 1}], {"prompt_template": "{question}", "carry": ("level", "answer")}, ()),
        ([b"{"], {"carry": ("level",)}, ()),
    ],
)
def test_what_none_of_the_rows_has_and_what_they_misspell_is_a_warning(
    tmp_path: Path, rows: list[object], spec: dict[str, Any], warnings: tuple[str, ...]
) -> None:
    found = looked(tmp_path, rows, **spec).warnings

    assert len(found) == len(warnings)
    for said, words in zip(found, warnings, strict=True):
        assert words in said


def test_so_many_rows_are_read_of_all_files_and_no_more(tmp_path: Path) -> None:
    spec = job_spec()
    large = written(tmp_path, "large.jsonl", [{"n": n} for n in range(3 * FIRST_ROWS)])
    files = [written(tmp_path, f"{n:03}.jsonl", [{"n": n}] * 100) for n in range(2 * MOST_FILES)]

    alone, among_two, of_many = (list(first_lines(spec, given)) for given in ([large], [large, files[0]], files))

    assert [line.number for _, line in alone] == list(range(1, FIRST_ROWS + 1))
    assert [file for file, _ in among_two] == [large.uri] * (FIRST_ROWS // 2) + [files[0].uri] * 100
    assert list(dict.fromkeys(file for file, _ in of_many)) == [file.uri for file in files[::2]]
    assert FIRST_ROWS <= len(of_many) < FIRST_ROWS + MOST_FILES


def test_of_long_lines_fewer_are_read(tmp_path: Path) -> None:
    long = written(tmp_path, "long.jsonl", [{"text": "x" * (FIRST_BYTES // 10)}] * 20)
    blank = written(tmp_path, "blank.jsonl", [*[b""] * (FIRST_BYTES // LINE_BYTES + 1), {"text": "far below"}])

    assert len(list(first_lines(job_spec(), [long]))) == 10
    assert list(first_lines(job_spec(), [blank])) == []


def test_the_fields_of_every_endpoint_are_known() -> None:
    for endpoint in ENDPOINTS:
        assert "model" in request_fields(endpoint), endpoint
