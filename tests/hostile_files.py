"""Files that no honest program writes, from a seed, each with its name: bombs, broken quotes, damage, other formats."""

import gzip
import io
from collections.abc import Callable
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard
from fuzzing import any_line, good_line
from random_tables import random_file

MIB = 1 << 20

Made = tuple[str, bytes]


def hostile_file(seed: int) -> Made:
    """Return a suffix and a content; about one of ten is damaged beside what it is."""
    random = Random(seed)
    suffix, content = random.choice(_KINDS)(random)
    if random.random() < 0.1 and content:
        content = _damaged(random, content)
    if random.random() < 0.05 and len(content) < MIB:
        suffix = random.choice(["jsonl", "jsonl.gz", "jsonl.zst", "csv", "parquet"])
    return suffix, content


def _damaged(random: Random, content: bytes) -> bytes:
    if random.random() < 0.3:
        return content[: random.randrange(len(content))]
    damaged = bytearray(content)
    for _ in range(random.randint(1, 5)):
        damaged[random.randrange(len(damaged))] = random.randrange(256)
    return bytes(damaged)


def _packed(random: Random, content: bytes) -> Made:
    suffix = random.choice(["jsonl", "jsonl.gz", "jsonl.zst"])
    packers: dict[str, Callable[[bytes], bytes]] = {"jsonl.gz": gzip.compress, "jsonl.zst": zstandard.compress}
    return suffix, packers.get(suffix, bytes)(content)


def _lines(random: Random) -> Made:
    raws = [any_line(random, number) for number in range(random.randint(0, 100))]
    return _packed(random, random.choice([b"\n", b"\r\n", b"\n\n"]).join(raws))


def _repeats(random: Random) -> Made:
    """Megabytes of one thing, between two good lines: blank lines, brackets, zeros, quotes, one endless line."""
    unit = random.choice(
        [b"\n", b" ", b"\0", b"[", b'{"a":', b'"', b",", b"\\", b"\r", b"\xff", b" \n", b"{}\n", b"[]\n"]
    )
    repeats = random.choice([1, 12]) * MIB // len(unit) if len(unit) == 1 else random.choice([1, 5000])
    suffix, content = _packed(random, unit * repeats)
    head, tail = good_line(random, 1) + b"\n", b"\n" + good_line(random, 2) + b"\n"
    return suffix, _of_suffix(suffix, head) + content + _of_suffix(suffix, tail)


def _of_suffix(suffix: str, content: bytes) -> bytes:
    packers: dict[str, Callable[[bytes], bytes]] = {"jsonl.gz": gzip.compress, "jsonl.zst": zstandard.compress}
    return packers.get(suffix, bytes)(content)


def _bombs(random: Random) -> Made:
    """A few kilobytes that stand for hundreds of megabytes."""
    suffix = random.choice(["jsonl.gz", "jsonl.zst"])
    block = random.choice([b"\0", b"\n", b'{"a":1}', b"[" * 64, b'"' * 64]) * (MIB // 64)
    packed = _of_suffix(suffix, block)
    return suffix, packed * random.choice([16, 128])


def _csv(random: Random) -> Made:
    mark = random.choice([",", ";", "\t", ","])
    cells = ["", "x", "a b", '"q""q"', '"two\nlines"', '"', 'x"y', "é", "\udcff", "\r", "1,2", "2;3", '"x"y', " "]
    header = mark.join(random.sample(["prompt", "id", "max_tokens", "n", '"a b"'], random.randint(1, 4)))
    rows = [mark.join(random.choices(cells, k=random.randint(0, 4))) for _ in range(random.randint(0, 60))]
    if random.random() < 0.2:
        long = random.choice(['""', "\n", "x", ",", '"\n"', "\r\n"]) * (random.choice([1, 1, 25]) * MIB // 3)
        rows.insert(random.randint(0, len(rows)), f'"{long}"{mark}2')
    text = random.choice(["", "\ufeff", f"sep={mark}\n"]) + "\n".join([header, *rows])
    return "csv", text.encode("utf-8", "surrogateescape")


def _tables(random: Random) -> Made:
    return "parquet", random_file(random.randrange(10**9))


def _table_bombs(random: Random) -> Made:
    """A cell that is written once and stands everywhere, alone, in lists, in maps; lists without measure."""
    big = random.choice(["x", "\n", "\\", "é"]) * random.choice([1000, 300_000, MIB])
    many = max(random.choice([1, 40, 400]) * MIB // len(big), 1)
    choices: list[Callable[[], pa.Array]] = [
        lambda: pa.array([big] * many),
        lambda: pa.array([[big] * many, None]),
        lambda: pa.array([[{"role": "user", "content": big}] * 3] * (many // 3)),
        lambda: pa.array([[("a", big), ("b", big)]] * (many // 2), pa.map_(pa.string(), pa.string())),
        lambda: pa.array([big.encode()] * many, pa.binary()),
        lambda: pa.array([b"x" * MIB] * 60, pa.binary(MIB)),
        lambda: pa.array([[0] * random.choice([10**5, 3 * 10**6]), []], pa.list_(pa.int64())),
        lambda: pa.array([[None] * random.choice([10**5, 3 * 10**6]), []], pa.list_(pa.string())),
        lambda: pa.nulls(random.choice([10**4, 10**5]), pa.int8()),
        lambda: pa.array([0] * random.choice([10**4, 10**5])),
    ]
    column = random.choice(choices)()
    names = ["prompt", *(f"c{number}" for number in range(random.choice([0, 0, 0, 3])))]
    stream = io.BytesIO()
    pq.write_table(
        pa.table([column] * len(names), names=names),
        stream,
        compression=random.choice(["zstd", "snappy", "gzip", "none"] if column.nbytes < 8 * MIB else ["zstd", "gzip"]),
        use_dictionary=random.random() < 0.7,
        row_group_size=random.choice([2, 100, 10**6]) if len(column) < 1000 else 10**6,
        dictionary_pagesize_limit=random.choice([1 << 20, 1 << 26]),
        data_page_version=random.choice(["1.0", "2.0"]),
    )
    return "parquet", stream.getvalue()


def _deep(random: Random) -> Made:
    """A table whose columns nest deep, or that has thousands of them."""
    if random.random() < 0.5:
        kind = pa.int8()
        for _ in range(random.choice([20, 70, 90])):
            kind = random.choice([pa.list_(kind), pa.struct([("a", kind)])])
        table = pa.table({"prompt": pa.array([None, None], kind)})
    else:
        table = pa.table({f"c{number}": [number] for number in range(random.choice([100, 3000]))})
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return "parquet", stream.getvalue()


_KINDS = [_lines, _lines, _repeats, _bombs, _csv, _csv, _tables, _tables, _table_bombs, _table_bombs, _deep]
