import uuid
from collections import Counter
from itertools import pairwise

import orjson
from hypothesis import given
from hypothesis import strategies as st
from specs import job_spec

from batch.duplicates import DuplicateScan
from batch.plan import Plan, PlannedInput, Shard, cut, decode_plan, encode_plan, make_plan
from connectors.inputs import Piece, PieceReader
from connectors.lines import Line
from connectors.registry import open_store

NUMBERS = st.integers(0, 2**40)
PIECES = st.builds(Piece, NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)
INPUTS = st.builds(PlannedInput, TEXTS, NUMBERS, TEXTS, st.just("jsonl"), NUMBERS, NUMBERS)
ROWS = st.sampled_from([b"", b" ", b"{", b'{"custom_id":"a","body":{"prompt":"x"}}', b'{"custom_id":"b","body":{}}'])


@given(
    inputs=st.lists(INPUTS, max_size=3),
    shards=st.lists(st.tuples(st.integers(0, 9), PIECES, st.lists(NUMBERS, max_size=3)), max_size=5),
)
def test_a_plan_is_read_back_as_it_was(inputs: list[PlannedInput], shards: list[tuple[int, Piece, list[int]]]) -> None:
    numbered = (Shard(index, file, piece, tuple(lines)) for index, (file, piece, lines) in enumerate(shards))
    plan = Plan(tuple(inputs), tuple(numbered))

    assert decode_plan(encode_plan(plan)) == plan


@given(raws=st.lists(ROWS, max_size=20), max_rows=st.integers(1, 5), max_bytes=st.integers(1, 120))
def test_pieces_hold_every_line_once_and_stay_small(raws: list[bytes], max_rows: int, max_bytes: int) -> None:
    lines = [(number, Line(number, 0, raw)) for number, raw in enumerate(raws, start=1)]

    pieces = list(cut(lines, max_rows=max_rows, max_bytes=max_bytes))

    assert [number for piece in pieces for number in range(piece.start, piece.end)] == list(range(len(raws)))
    for piece in pieces:
        inside = [line for _, line in lines[piece.start : piece.end] if not line.is_blank]
        assert (piece.first_line, piece.lines) == (piece.start + 1, piece.end - piece.start)
        assert piece.rows == len(inside)
        if inside:
            whole = [line for _, line in lines[piece.start : piece.end]]
            assert len(whole) <= max_rows
            assert len(whole) == 1 or sum(len(line.raw) + 1 for line in whole) <= max_bytes
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
        for line in reader.read(plan.inputs[shard.input].file, shard.piece):
            if not line.is_blank:
                read.append(line.raw)
                custom_id = orjson.loads(line.raw)["custom_id"] if line.raw != b"{" else None
                assert (line.number in shard.duplicates) == (seen[custom_id] > 0)
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
