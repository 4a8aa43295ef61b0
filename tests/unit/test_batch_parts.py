"""Parts in both formats give their lines back, and Parquet has the columns that people query."""

import io

import orjson
import pyarrow.parquet as pq
import pytest

from batch.parts import PartFormat, decode_part, encode_part
from batch.result import Success, Usage, encode_result

CHAT = (
    b'{"choices":[{"message":{"content":"forty \\u2028 two"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2}}'
)
EMBEDDING = b'{"data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":1}}'
LINES = [encode_result(Success(name, body, Usage()), name) for name, body in (("a", CHAT), ("b", EMBEDDING))]


@pytest.mark.parametrize("part_format", ["jsonl", "parquet"])
def test_lines_come_back_byte_for_byte(part_format: PartFormat) -> None:
    assert list(decode_part(encode_part(LINES, part_format), f"results/part-0.{part_format}")) == LINES


def test_parquet_has_typed_columns() -> None:
    table = pq.read_table(io.BytesIO(encode_part(LINES, "parquet"))).to_pylist()
    assert table[0] | {"body": None, "line": None} == {
        "custom_id": "a",
        "text": "forty \u2028 two",
        "finish_reason": "stop",
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "body": None,
        "line": None,
    }
    assert orjson.loads(table[0]["body"]) == orjson.loads(CHAT)
    assert (table[1]["text"], table[1]["prompt_tokens"], table[1]["completion_tokens"]) == (None, 1, None)
