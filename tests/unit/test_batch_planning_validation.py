from pathlib import Path

import orjson
import pytest
from specs import chat_line, job_spec

from batch.planning.plan import make_plan
from batch.planning.validation import find_failures, prompt_characters, validate
from batch.result import RowFailure
from batch.rows.request import Request

ROWS = [
    chat_line("a"),
    chat_line("b", temperature=3.5),
    chat_line("a"),
    b"",
    b"{",
    {"custom_id": "c", "body": {"messages": [{"role": "user", "content": [{"type": "text", "text": "12345"}]}]}},
]


def test_every_bad_line_is_told_and_every_line_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in ROWS) + b"\n")
    spec = job_spec(inputs=(f"file://{path}",))
    plan = make_plan(spec)
    told: list[RowFailure] = []

    found = validate(spec, plan, told.append)

    assert [(failure.place.line, failure.code) for failure in told] == [
        (2, "invalid_parameter"),
        (3, "duplicate_custom_id"),
        (5, "malformed_json"),
    ]
    assert list(find_failures(spec, plan)) == told
    assert found.failed_by_code == {"duplicate_custom_id": 1, "invalid_parameter": 1, "malformed_json": 1}
    assert (found.lines, found.blank, found.rows, found.failed) == (6, 1, 5, 3)
    assert found.prompt_characters == len("1+1?") + len("12345")


@pytest.mark.parametrize(
    ("body", "characters"),
    [
        ({"prompt": "abc"}, 3),
        ({"prompt": ["abc", "de"]}, 5),
        ({"input": [1, 2, 3]}, 0),
        ({"messages": [{"role": "user", "content": "abc"}, {"role": "tool", "content": None}]}, 3),
    ],
)
def test_prompt_characters_are_those_of_the_texts(body: dict[str, object], characters: int) -> None:
    assert prompt_characters(Request("a", "/v1/completions", body)) == characters
