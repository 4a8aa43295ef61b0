"""Parquet files of random schemas: each row becomes one line of strict JSON, or one failure that names its column.

Two thousand files with BATCHCTL_TESTS=long. A failure names its seed; `random_file` makes the file again.
"""

import io
from collections import Counter
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from long_run import LONG
from random_tables import random_file
from specs import FILE, job_spec

from batch.rows.request import Decoder, Request
from batch.spec.parameters import InferenceParameters
from batch.strict_json import loads
from connectors.datasets.lines import Line
from connectors.datasets.parquet_rows import parquet_lines

FILES = 2000 if LONG else 150
MAX_LINE_BYTES = 2000


def lines_of(content: bytes, start: int = 0) -> list[Line]:
    return list(parquet_lines(io.BytesIO(content), "f.parquet", start=start, max_line_bytes=MAX_LINE_BYTES))


@pytest.mark.timeout(3600)
def test_every_row_is_strict_json_or_a_failure_that_names_its_column() -> None:
    fates = Counter[str]()
    for seed in range(FILES):
        content = random_file(seed)
        lines = lines_of(content)
        table = pq.read_metadata(io.BytesIO(content))
        assert [line.number for line in lines] == list(range(1, table.num_rows + 1)), f"seed {seed}"
        start = Random(seed).randint(0, len(lines))
        assert lines_of(content, start) == lines[start:], f"seed {seed}"
        for line in lines:
            fates[str(line.problem)] += 1
            if line.problem is None:
                row = loads(line.raw)
                assert isinstance(row, dict), f"seed {seed}"
                assert None not in row.values()
            elif line.problem != "line_too_long":
                assert line.detail.startswith("column '"), f"seed {seed}"
    assert fates["None"] > fates.total() // 2
    assert set(fates) == {"None", "line_too_long", "invalid_utf8", "malformed_json"}


def test_a_row_of_a_table_asks_what_the_row_without_its_nulls_asks() -> None:
    """The same job's parameters beside nulls as beside nothing."""
    decoder = Decoder(job_spec(parameters=InferenceParameters(max_tokens=5, temperature=0.0)))
    rows: list[dict[str, object]] = [
        {"messages": [{"role": "user", "content": "2 + 3 ="}], "max_tokens": None, "temperature": None, "prompt": None},
        {"messages": None, "max_tokens": 3, "temperature": 0.5, "prompt": "2 + 3 ="},
    ]
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), stream)
    chat, completion = (decoder.decode(FILE, line) for line in lines_of(stream.getvalue()))
    assert isinstance(chat, Request)
    assert chat.body == {"messages": rows[0]["messages"], "max_tokens": 5, "temperature": 0.0, "model": "tiny"}
    assert isinstance(completion, Request)
    assert completion.endpoint == "/v1/completions"
    assert completion.body == {"prompt": "2 + 3 =", "max_tokens": 3, "temperature": 0.5, "model": "tiny"}
