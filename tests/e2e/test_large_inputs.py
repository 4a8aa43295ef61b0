"""Inputs without measure are planned and read in bounded memory: a line of a gigabyte, bombs, millions of rows.

Ten million with BATCHCTL_TESTS=long.
"""

import gzip
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from long_run import LONG
from memory import planned_alone

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

GIB, MIB = 1 << 30, 1 << 20
ROWS = 10_000_000 if LONG else 2_000_000
CELLS = 27_000 if LONG else 200
GOOD = b'{"custom_id": "%d", "body": {"prompt": "x"}}\n'
PACKERS: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zstandard.compress}
SUFFIXES = pytest.mark.parametrize("suffix", PACKERS)


@pytest.fixture
def small(tmp_path: Path) -> dict[str, Path]:
    """A file of one row in each format."""
    files = {"": tmp_path / "small.jsonl"} | {suffix: tmp_path / f"small.jsonl.{suffix}" for suffix in PACKERS}
    for suffix, path in files.items():
        path.write_bytes(PACKERS[suffix](GOOD % 0) if suffix else GOOD % 0)
    return files


def test_a_line_of_a_gigabyte_costs_its_row_and_no_memory(small: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    path.write_bytes(GOOD % 1)
    os.truncate(path, GIB)  # a hole: it takes no room on the disk
    with path.open("ab") as file:
        file.write(b"\n" + GOOD % 2)

    told = planned_alone(small[""], path)

    assert (told["lines"], told["fates"]) == (3, {"decoded": 2, "line_too_long": 1})
    assert told["grown_bytes"] < 64 * MIB


@SUFFIXES
def test_a_compressed_line_of_a_gigabyte_too(small: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    pack = PACKERS[suffix]
    path = tmp_path / f"large.jsonl.{suffix}"
    member = pack(random.Random(1).randbytes(10_000).hex().encode() * 52)  # a mebibyte, packed to less than a tenth
    with path.open("wb") as file:
        file.write(pack(GOOD % 1))
        file.writelines([member] * 1024)
        file.write(pack(b"\n" + GOOD % 2))

    told = planned_alone(small[suffix], path)

    assert (told["lines"], told["fates"]) == (3, {"decoded": 2, "line_too_long": 1})
    assert told["grown_bytes"] < 64 * MIB


@SUFFIXES
def test_a_bomb_costs_the_rest_of_its_file_and_no_memory(small: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    packer = zlib.compressobj(9, wbits=31) if suffix == "gz" else zstandard.ZstdCompressor(level=3).compressobj()
    path = tmp_path / f"bomb.jsonl.{suffix}"
    zeros = bytes(MIB)
    with path.open("wb") as file:
        file.write(packer.compress(GOOD % 1))
        for _ in range(512):
            file.write(packer.compress(zeros))
        file.write(packer.flush())
    assert path.stat().st_size < MIB

    told = planned_alone(small[suffix], path)

    assert (told["lines"], told["fates"]) == (2, {"decoded": 1, "line_too_long": 1})
    assert told["grown_bytes"] < 192 * MIB  # one small feed of zstd may give 64 MiB at once, and is joined to the rest


def test_a_table_of_one_cell_in_every_row_is_read_and_costs_no_memory(tmp_path: Path) -> None:
    """27 GB of text in less than a kilobyte, at full size."""
    small, path = tmp_path / "small.parquet", tmp_path / "bomb.parquet"
    pq.write_table(pa.table({"prompt": ["x"]}), small)
    cell = pa.DictionaryArray.from_arrays(pa.array([0] * CELLS, pa.int32()), pa.array(["x" * MIB]))
    pq.write_table(pa.table({"prompt": cell}), path, compression="zstd", store_schema=False)
    assert path.stat().st_size < MIB // 1024

    told = planned_alone(small, path)

    assert (told["rows"], told["fates"]) == (CELLS, {"decoded": 100})
    assert told["grown_bytes"] < 192 * MIB


@pytest.mark.parametrize("suffix", ["", *PACKERS])
def test_newlines_cost_no_memory(small: dict[str, Path], tmp_path: Path, suffix: str) -> None:
    """Whoever reads a shard holds its lines, the blank ones too."""
    path = tmp_path / (f"blank.jsonl.{suffix}" if suffix else "blank.jsonl")
    text = GOOD % 1 + b"\n" * (2 * MIB) + GOOD % 2
    path.write_bytes(PACKERS[suffix](text) if suffix else text)

    told = planned_alone(small[suffix], path)

    assert (told["lines"], told["fates"]) == (2 * MIB + 2, {"decoded": 2})
    assert told["grown_bytes"] < 64 * MIB


def test_millions_of_rows_are_planned_in_bounded_memory(small: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    block = 100_000
    with path.open("wb") as file:
        for start in range(0, ROWS, block):
            file.write(b"".join(b'{"custom_id":"%d","body":{}}\n' % number for number in range(start, start + block)))
        file.write(b'{"custom_id":"7","body":{}}\n')

    told = planned_alone(small[""], path, shards=2)

    assert (told["rows"], told["duplicates"]) == (ROWS + 1, 1)
    assert (
        1_000 <= told["shards"] < 1_400
    )  # with 512 rows each there would be four thousand, and twenty thousand of ten million
    assert told["plan_bytes"] < 100 * told["shards"]
    assert told["grown_bytes"] < 128 * MIB
