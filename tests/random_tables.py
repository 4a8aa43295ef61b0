"""Parquet files of random schemas from a seed: every type that pyarrow can write, nested, with values out of range."""

import io
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = ["", "a", "é🙂\u2028", '"\\\n', "2", "x" * 300, "\0\x1b[2J", "null", "{}"]
NAMES = ["a", "b", "max_tokens", "temperature", "a.b", "list", "element", "é", "", "stop", "n"]
ZONES = [None, "UTC", "Europe/Berlin", "+05:30", "No/Where", "-99:99", "../x"]

Leaf = Callable[[Random, int], pa.Array]


def random_file(seed: int, rows: int | None = None) -> bytes:
    """A file with a text column `prompt`, whose cells are null at times, and up to six others."""
    random = Random(seed)
    while True:
        try:
            content = _written(random, random_table(random, random.randint(0, 40) if rows is None else rows))
            # pyarrow writes some nested columns, in several row groups, so that it cannot read them itself.
            pq.read_table(io.BytesIO(content))
        except (pa.ArrowNotImplementedError, pa.ArrowInvalid, OSError):
            continue
        return content


def random_table(random: Random, rows: int) -> pa.Table:
    """The table of such a file."""
    names = random.sample(NAMES, random.randint(0, 6))
    columns = {name: random_array(random, rows, depth=random.randint(0, 3)) for name in names}
    prompts = pa.array([random.choice([None, *TEXTS]) for _ in range(rows)], pa.string())
    return pa.table({**columns, "prompt": prompts})


def random_array(random: Random, size: int, depth: int) -> pa.Array:
    """Cells of a random type, nested up to so many levels."""
    if depth == 0:
        return random.choice(_LEAVES)(random, size)
    kind = random.choice(["list", "large_list", "view", "large_view", "fixed", "struct", "map"])
    if kind == "struct":
        members = [random_array(random, size, depth - 1) for _ in range(random.randint(1, 3))]
        mask = pa.array([random.random() < 0.2 for _ in range(size)], pa.bool_())
        return pa.StructArray.from_arrays(members, random.sample(NAMES, len(members)), mask=mask)
    if kind == "fixed":
        width = random.randint(1, 3)
        return pa.FixedSizeListArray.from_arrays(random_array(random, size * width, depth - 1), width)
    lengths = [random.choice([0, 0, 1, 2, 5]) for _ in range(size)]
    offsets = [sum(lengths[:at]) for at in range(size + 1)]
    values = random_array(random, offsets[-1], depth - 1)
    if kind == "map":
        keys = [random.choice([random.choice(TEXTS), str(at)]) for at in range(offsets[-1])]
        of_keys = pa.array(keys) if random.random() < 0.7 else pa.array(range(offsets[-1]), pa.int16())
        return pa.MapArray.from_arrays(offsets, of_keys, values)
    if kind in ("view", "large_view"):
        made = pa.ListViewArray if kind == "view" else pa.LargeListViewArray
        width = pa.int32() if kind == "view" else pa.int64()
        return made.from_arrays(pa.array(offsets[:-1], width), pa.array(lengths, width), values)
    nullable = [None if random.random() < 0.2 else at for at in offsets[:-1]] + offsets[-1:]
    made, width = (pa.ListArray, pa.int32()) if kind == "list" else (pa.LargeListArray, pa.int64())
    return made.from_arrays(pa.array(nullable, width), values)


def _written(random: Random, table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(
        table,
        stream,
        row_group_size=random.choice([1, 7, 1000]),
        compression=random.choice(["none", "snappy", "zstd", "gzip"]),
        use_dictionary=random.random() < 0.5,
        data_page_version=random.choice(["1.0", "2.0"]),
        dictionary_pagesize_limit=random.choice([10, 1 << 20]),
        data_page_size=random.choice([10, 1 << 20]),
        store_schema=random.random() < 0.8,
        write_page_checksum=random.random() < 0.3,
    )
    return stream.getvalue()


def _some(random: Random, size: int, value: Callable[[], object]) -> list[Any]:
    return [None if random.random() < 0.2 else value() for _ in range(size)]


def _numbers(kind: pa.DataType, bits: int, *, at_most: int | None = None) -> Leaf:
    """Cells that are stored as a signed number, of any size that it can have."""
    stored = pa.int32() if bits == 32 else pa.int64()

    def made(random: Random, size: int) -> pa.Array:
        most = at_most or 2 ** (bits - 1) - 1
        numbers = _some(random, size, lambda: random.choice([0, 1, -1, most, -most, random.randint(-most, most)]))
        return pa.array(numbers, stored).view(kind)

    return made


def _timestamps(random: Random, size: int) -> pa.Array:
    unit = random.choice(["s", "ms", "us", "ns"])
    kind = pa.timestamp(unit, random.choice(ZONES))
    return _numbers(kind, 64, at_most=2**52 if unit == "s" else None)(random, size)


def _values(kind: pa.DataType, value: Callable[[Random], object]) -> Leaf:
    return lambda random, size: pa.array(_some(random, size, lambda: value(random)), kind)


def _text(random: Random) -> str:
    return random.choice(TEXTS)


def _bytes(random: Random) -> bytes:
    return random.choice([b"", b"\xff", random.randbytes(9)])


def _broken_text(random: Random, size: int) -> pa.Array:
    """Text that need not be UTF-8."""
    cells = pa.array(_some(random, size, lambda: random.choice([b"ok", b"\xff", b"a\xed\xa0\x80"])), pa.binary())
    return pa.Array.from_buffers(pa.string(), size, cells.buffers())


def _stored(kind: pa.DataType, leaf: Leaf) -> Leaf:
    """An extension type over what it is stored as."""
    return lambda random, size: pa.ExtensionArray.from_storage(kind, leaf(random, size))


def _decimal(random: Random) -> Decimal:
    return Decimal(random.choice([0, 1, -12345, random.randint(-(10**7), 10**7)])).scaleb(-2)


def _float(random: Random) -> float:
    return random.choice([0.0, -1.5, float("nan"), float("inf"), -float("inf"), 1e-300, 0.1])


_LEAVES: list[Leaf] = [
    lambda _, size: pa.nulls(size),
    _values(pa.bool_(), lambda random: random.random() < 0.5),
    _values(pa.int8(), lambda random: random.randint(-128, 127)),
    _values(pa.uint64(), lambda random: random.choice([0, 2**64 - 1, 2**63])),
    _values(pa.int64(), lambda random: random.choice([0, 2**63 - 1, -(2**63)])),
    _values(pa.float16(), lambda random: random.choice([0.5, float("nan"), float("inf")])),
    _values(pa.float32(), _float),
    _values(pa.float64(), _float),
    *(_values(kind(9, 2), _decimal) for kind in (pa.decimal32, pa.decimal64, pa.decimal128, pa.decimal256)),
    _numbers(pa.date32(), 32),
    _numbers(pa.date64(), 64, at_most=2**40),
    _numbers(pa.time32("s"), 32, at_most=2**20),
    _numbers(pa.time32("ms"), 32),
    _numbers(pa.time64("us"), 64),
    _numbers(pa.time64("ns"), 64),
    _timestamps,
    *(_numbers(pa.duration(unit), 64) for unit in ("s", "ms", "us", "ns")),
    *(_values(kind, _text) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *(_values(kind, _bytes) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    _values(pa.binary(3), lambda random: random.randbytes(3)),
    lambda random, size: pa.array(_some(random, size, lambda: random.choice(TEXTS)), pa.string()).dictionary_encode(),
    _broken_text,
    _stored(pa.uuid(), _values(pa.binary(16), lambda random: random.randbytes(16))),
    _stored(pa.bool8(), _values(pa.int8(), lambda random: random.randint(-1, 1))),
    _stored(pa.json_(), _values(pa.string(), _text)),
    _stored(pa.opaque(pa.int8(), "x", "y"), _values(pa.int8(), lambda random: random.randint(-128, 127))),
]
