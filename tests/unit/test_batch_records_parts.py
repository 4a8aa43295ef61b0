"""Parts in both formats give their lines back, and Parquet has the columns that people query."""

import io

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from batch.records.parts import JSONL, decode_part, encode_part, in_parts
from batch.result import Code, Place, RowFailure, Success, Usage, encode_result
from batch.spec.job_spec import PartFormat

PARQUET = PartFormat("parquet")
CHAT = (
    b'{"choices":[{"message":{"content":"forty \\u2028 two"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1}}}'
)
EMBEDDING = b'{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":1}}'
RESPONSE = (
    b'{"output":[{"type":"reasoning"},{"type":"message","content":[{"type":"output_text","text":"42"}]}],'
    b'"usage":{"input_tokens":3,"output_tokens":2}}'
)
BODIES = {"chat": CHAT, "embedding": EMBEDDING, "response": RESPONSE}
LINES = [encode_result(Success(name, body, Usage()), name) for name, body in BODIES.items()]
FAILED = [
    encode_result(RowFailure(None, Code.MALFORMED_JSON, "bad", Place("file:///a.jsonl", 7, 99), b"{"), "f"),
    encode_result(
        RowFailure("g", Code.PROMPT_TOO_LONG, "long", Place("file:///a.jsonl", 8, 101), b"{}", status_code=400,
                   body=b'{"error":{"message":"long"}}'),
        "g",
    ),
]  # fmt: skip


def table_of(lines: list[bytes], *carried: str) -> pa.Table:
    return pq.read_table(io.BytesIO(encode_part(lines, PartFormat("parquet", carried))))


@pytest.mark.parametrize("part_format", [JSONL, PARQUET])
@pytest.mark.parametrize("lines", [LINES, FAILED])
def test_lines_come_back_byte_for_byte(part_format: PartFormat, lines: list[bytes]) -> None:
    assert list(decode_part(encode_part(lines, part_format), f"results/part-0.{part_format.name}")) == lines


def test_an_answer_has_its_text_its_tokens_and_no_error() -> None:
    chat, embedding, response = table_of(LINES).to_pylist()
    assert chat | {"body": None, "line": None} == {
        "custom_id": "chat",
        "text": "forty \u2028 two",
        "finish_reason": "stop",
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "cached_tokens": 1},
        "error": None,
        "body": None,
        "line": None,
    }
    assert orjson.loads(chat["body"]) == orjson.loads(CHAT)
    assert (embedding["text"], embedding["prompt_tokens"], embedding["completion_tokens"]) == (None, 1, None)
    assert (response["text"], response["prompt_tokens"], response["completion_tokens"]) == ("42", 3, 2)


def test_a_failed_row_has_its_error_and_its_place() -> None:
    unread, refused = table_of(FAILED).to_pylist()
    assert unread["error"] == {
        "code": "malformed_json",
        "message": "bad",
        "field": None,
        "file": "file:///a.jsonl",
        "line": 7,
        "offset": 99,
    }
    assert (unread["custom_id"], unread["text"], unread["usage"], unread["body"]) == (None, None, None, None)
    assert (refused["error"]["code"], orjson.loads(refused["body"])["error"]["message"]) == ("prompt_too_long", "long")


def test_each_carried_field_has_a_column_of_text() -> None:
    metadata = {"answer": "18", "level": 3, "tags": ["a"], "text": "mine", "none": None}
    lines = [encode_result(Success("a", CHAT, Usage(), metadata), "a"), LINES[0]]

    carried, other = table_of(lines, "answer", "level", "tags", "text", "none").to_pylist()

    assert [carried[name] for name in ("answer", "level", "tags", "none")] == ["18", "3", '["a"]', None]
    assert (carried["metadata.text"], carried["text"]) == ("mine", "forty \u2028 two")
    assert [other[name] for name in ("answer", "level", "tags", "none")] == [None] * 4


def test_parts_of_a_job_have_one_schema() -> None:
    assert table_of(LINES, "level").schema == table_of(FAILED, "level").schema


@pytest.mark.parametrize("part_format", [JSONL, PARQUET])
def test_a_line_that_would_be_several_is_refused(part_format: PartFormat) -> None:
    with pytest.raises(ValueError, match="a line break"):
        encode_part([LINES[0], b'{"a":\n1}'], part_format)


@pytest.mark.parametrize(
    "body",
    [
        *([], 7, None, {"choices": 7, "usage": "many"}, {"choices": [None]}, {"choices": [{"message": 7, "text": {}}]}),
        {"choices": [{"message": {"content": ["parts"]}, "finish_reason": 3}], "usage": {"prompt_tokens": "7"}},
        {"usage": {"prompt_tokens": 2**63, "completion_tokens": 1.5}},
        *({"output": 7}, {"output": [7, {"content": 7}, {"content": [7, {"type": "output_text", "text": 7}]}]}),
    ],
)
def test_a_body_of_any_shape_has_a_row_in_parquet(body: object) -> None:
    line = encode_result(Success("a", orjson.dumps(body), Usage()), "a")
    (row,) = table_of([line]).to_pylist()

    assert orjson.loads(row.pop("body")) == body
    assert not row.pop("text")
    assert row == {"custom_id": "a", "line": line.decode()} | dict.fromkeys(
        ("finish_reason", "prompt_tokens", "completion_tokens", "usage", "error")
    )


@pytest.mark.parametrize(
    ("lengths", "runs"),
    [([], []), ([9], [1]), ([4, 4], [2]), ([4, 5], [1, 1]), ([30, 1, 1, 30, 4, 4, 1], [1, 2, 1, 2, 1])],
)
def test_lines_that_are_too_many_bytes_become_several_parts(lengths: list[int], runs: list[int]) -> None:
    lines = [b"x" * length for length in lengths]

    found = list(in_parts(lines, max_bytes=10))

    assert [len(run) for run in found] == runs
    assert [line for run in found for line in run] == lines
