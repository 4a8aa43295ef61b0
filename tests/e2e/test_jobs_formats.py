"""One job over files of every format, with a template, ids of their own and fields that are carried along."""

import gzip
import json
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from terminal import Output, Terminal

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

Row = dict[str, Any]


def questions(name: str, count: int) -> list[Row]:
    return [
        {"id": f"{name}-{n}", "question": f"what is {name} {n}?", "level": n, "none of it": "x"} for n in range(count)
    ]


def jsonl(rows: list[Row]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_inputs(terminal: Terminal) -> list[str]:
    """The files in the order in which they are given; the second row of the CSV file has no id."""
    folder = terminal.folder
    table = [{**row, "day": date(2026, 1, 31)} for row in questions("parquet", 3)]
    pq.write_table(pa.Table.from_pylist(table), folder / "d.parquet")
    (folder / "e.csv").write_text('id,question,level\ncsv-0,"what, is\ncsv 0?",low\n,nobody,1\ncsv-2,what is csv 2?,\n')
    (folder / "c.jsonl.zst").write_bytes(zstandard.compress(jsonl(questions("zst", 700))))  # more than one shard
    (folder / "a.jsonl").write_bytes(jsonl([*questions("plain", 2), {"id": "no-question", "level": 9}]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(jsonl(questions("gz", 1))))
    return ["e.csv", "d.parquet", "c.jsonl.zst", "b.jsonl.gz", "a.jsonl"]


def test_files_of_every_format_make_one_output_in_the_order_given(terminal: Terminal) -> None:
    files = write_inputs(terminal)

    ended = terminal.run(
        *("run", *files, "--model", "m", "--engine", "echo", "--output", "out", "--replicas", "2"),
        *("--prompt-template", "Please: {question}", "--id-field", "id", "--carry", "level", "--carry", "day"),
    )

    assert ended.returncode == 0, ended.stderr
    results, errors = Output(terminal.folder / "out").rows("results"), Output(terminal.folder / "out").rows("errors")
    assert [row["custom_id"] for row in results] == [
        *("csv-0", "csv-2"),
        *(f"parquet-{n}" for n in range(3)),
        *(f"zst-{n}" for n in range(700)),
        *("gz-0", "plain-0", "plain-1"),
    ]
    by_id = {row["custom_id"]: row for row in results}
    assert content(by_id["csv-0"]) == "Please: what, is\ncsv 0?"
    assert content(by_id["zst-699"]) == "Please: what is zst 699?"
    assert by_id["csv-2"]["metadata"] == {}
    assert by_id["parquet-1"]["metadata"] == {"level": 1, "day": "2026-01-31"}
    assert by_id["zst-5"]["metadata"] == {"level": 5}
    assert [(row["custom_id"], row["error"]["code"], row["error"]["line"]) for row in errors] == [
        (None, "missing_custom_id", 2),
        ("no-question", "invalid_parameter", 3),
    ]
    assert errors[1]["error"]["field"] == "question"
    assert errors[1]["metadata"] == {"level": 9}


def content(row: Row) -> str:
    return str(row["response"]["body"]["choices"][0]["message"]["content"])
