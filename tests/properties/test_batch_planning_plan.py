import uuid
from collections import Counter
from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st
from specs import job_spec

from batch.planning.duplicate_ids import DuplicateScan
from batch.planning.plan import Plan, PlannedInput, cut, decode_plan, encode_plan, make_plan
from batch.planning.shard_rows import read_rows
from batch.planning.shards import Shard, Span
from connectors.datasets.lines import Line
from connectors.datasets.reader import Piece, PieceReader
from connectors.stores.registry import open_store

NUMBERS = st.integers(0, 2**40)
PIECES = st.builds(Piece, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
LINES = st.lists(NUMBERS, max_size=3).map(tuple)
SPANS = st.builds(Span, st.integers(0, 9), PIECES, LINES, LINES)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
INPUTS = st.builds(PlannedInput, TEXTS, NUMBERS, TEXTS, st.just("jsonl"), NUMBERS, NUMBERS)
ROWS = st.sampled_from([b"", b" ", b"{", b'{"custom_id":"a","body":{"prompt":"x"}}', b'{"custom_id":"b","body":{}}'])


@given(
    inputs=st.lists(INPUTS, max_size=3),
    shards=st.lists(st.lists(SPANS, min_size=1, max_size=3), max_size=5),
)
def test_a_plan_is_read_back_as_it_was(inputs: list[PlannedInput], shards: list[list[Span]]) -> None:
    plan = Plan(tuple(inputs), tuple(Shard(index, tuple(spans)) for index, spans in enumerate(shards)))

    assert decode_plan(encode_plan(plan)) == plan


@given(raws=st.lists(ROWS, max_size=20), max_rows=st.integers(1, 5), max_bytes=st.integers(1, 120))
def test_pieces_hold_every_line_once_and_stay_small(raws: list[bytes], max_rows: int, max_bytes: int) -> None:
    lines = [(number, Line(number, 0, raw)) for number, raw in enumerate(raws, start=1)]

    cuts = list(cut(lines, max_rows=max_rows, max_bytes=max_bytes))
    pieces = [piece for piece, _ in cuts]

    assert [number for piece in pieces for number in range(piece.start, piece.end)] == list(range(len(raws)))
    for piece, size_bytes in cuts:
        inside = [line for _, line in lines[piece.start : piece.end] if not line.is_blank]
        assert (piece.first_line, piece.lines) == (piece.start + 1, piece.end - piece.start)
        assert piece.rows == len(inside)
        if inside:
            whole = [line for _, line in lines[piece.start : piece.end]]
            assert len(whole) <= max_rows
            assert size_bytes == sum(len(line.raw) + 1 for line in whole)
            assert len(whole) == 1 or size_bytes <= max_bytes
    assert not any(a.rows == b.rows == 0 for a, b in pairwise(pieces))


@given(files=st.lists(st.lists(ROWS, max_size=12), min_size=1, max_size=3), shard_rows=st.integers(1, 4))
def test_a_plan_accounts_for_every_line_and_every_repeated_id(files: list[list[bytes]], shard_rows: int) -> None:
    folder = f"memory://{uuid.uuid4().hex}"
    store = open_store(folder)
    for number, raws in enumerate(files):
        store.put(f"{number}.jsonl", b"".join(raw + b"\n" for raw in raws) or b"\n")
    plan = make_plan(
        job_spec(inputs=tuple(f"{folder}/{number}.jsonl" for number in range(len(files))), shard_rows=shard_rows)
    )
    reader = PieceReader(max_line_bytes=1000)
    seen: Counter[str | None] = Counter()
    read: list[bytes] = []

    for shard in plan.shards:
        rows = read_rows(plan, shard, reader)
        assert len({row.number for row in rows}) == len(rows) == shard.rows
        for row in rows:
            read.append(row.line.raw)
            assert row.file == plan.inputs[row.input].uri
            custom_id = orjson.loads(row.line.raw)["custom_id"] if row.line.raw != b"{" else None
            assert row.is_repeat == (seen[custom_id] > 0)
            seen[custom_id] += custom_id is not None

    assert read == [raw for raws in files for raw in raws if raw.strip()]
    assert plan.rows == len(read)
    assert plan.lines == sum(max(1, len(raws)) for raws in files)


@given(ids=st.lists(st.sampled_from("abcdef"), max_size=40))
def test_the_scan_tells_each_use_but_the_first(ids: list[str]) -> None:
    with DuplicateScan() as scan:
        for place, custom_id in enumerate(ids):
            scan.add(custom_id, place // 10, place % 10)
        repeated = list(scan.repeated())

    assert repeated == [divmod(place, 10) for place, custom_id in enumerate(ids) if custom_id in ids[:place]]
