from pathlib import Path

import orjson
from specs import job_spec

from batch.planning.plan import decode_plan, encode_plan, make_plan
from batch.planning.shard_rows import read_rows
from batch.planning.shards import Cut, Shard, Span, join, max_lines
from connectors.datasets.reader import Piece, PieceReader

ROW_BYTES = 10


def cuts(*rows_of_files: list[int]) -> list[Cut]:
    """What each file was cut into, by the rows of each piece."""
    made = []
    for file, rows_of_pieces in enumerate(rows_of_files):
        line = 1
        for rows in rows_of_pieces:
            piece = Piece(line * ROW_BYTES, (line + rows) * ROW_BYTES, line, rows, rows)
            made.append(Cut(Span(file, piece), rows * ROW_BYTES))
            line += rows
    return made


def joined(
    *rows_of_files: list[int], rows: int = 4, size_bytes: int = 1000, alone: tuple[int, ...] = ()
) -> list[list[tuple[int, int]]]:
    """The (input, rows) of the spans of each shard."""
    shards = list(join(cuts(*rows_of_files), max_lines=rows, max_bytes=size_bytes, alone=alone))
    assert [shard.index for shard in shards] == list(range(len(shards)))
    return [[(span.input, span.rows) for span in shard.spans] for shard in shards]


def test_small_files_share_a_shard_up_to_its_rows() -> None:
    assert joined([1], [1], [1], [1], [1]) == [[(0, 1), (1, 1), (2, 1), (3, 1)], [(4, 1)]]


def test_small_files_share_a_shard_up_to_its_bytes() -> None:
    assert joined([1], [1], [1], size_bytes=2 * ROW_BYTES) == [[(0, 1), (1, 1)], [(2, 1)]]


def test_pieces_of_one_file_become_one_span() -> None:
    assert joined([2, 2, 2], rows=4) == [[(0, 4)], [(0, 2)]]
    (shard,) = join(cuts([2, 2]), max_lines=4, max_bytes=1000, alone=())
    assert shard.spans[0].piece == Piece(10, 50, 1, 4, 4)


def test_pieces_with_lines_between_them_that_are_not_run_stay_apart() -> None:
    first, _, third = cuts([1, 1, 1])

    (shard,) = join([first, third], max_lines=4, max_bytes=1000, alone=())

    assert shard == Shard(0, (first.span, third.span))


def test_a_piece_larger_than_a_shard_has_one_of_its_own() -> None:
    assert joined([1], [9], [1]) == [[(0, 1)], [(1, 9)], [(2, 1)]]


def test_a_file_that_is_brought_together_shares_no_shard() -> None:
    assert joined([1], [1], [1], [1], alone=(1,)) == [[(0, 1)], [(1, 1)], [(2, 1), (3, 1)]]


def test_shards_grow_with_the_job_and_never_shrink() -> None:
    assert max_lines(job_rows=100_000, shard_rows=512) == 512
    assert max_lines(job_rows=1_000_000, shard_rows=512) == 1_000
    assert max_lines(job_rows=10_000_000, shard_rows=512) == 10_000


def test_a_large_job_has_a_thousand_shards(tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_bytes(b'{"prompt":"x"}\n' * 30_000)

    plan = make_plan(job_spec(inputs=(f"file://{path}",), shard_rows=2))

    assert len(plan.shards) == 1_000
    assert {shard.rows for shard in plan.shards} == {30}


def test_rows_of_small_files_keep_their_file_line_and_offset(tmp_path: Path) -> None:
    for number in range(3):
        lines = [orjson.dumps({"prompt": f"{number}.{line}"}) for line in range(2)]
        (tmp_path / f"{number}.jsonl").write_bytes(b"\n" * number + b"\n".join(lines))

    plan = make_plan(job_spec(inputs=(f"file://{tmp_path}/*.jsonl",)))
    (shard,) = decode_plan(encode_plan(plan)).shards
    rows = read_rows(plan, shard, PieceReader(max_line_bytes=1000))

    assert [(Path(row.file).name, row.line.number, row.line.offset, row.number) for row in rows] == [
        ("0.jsonl", 1, 0, 1),
        ("0.jsonl", 2, 17, 2),
        ("1.jsonl", 2, 1, 3),
        ("1.jsonl", 3, 18, 4),
        ("2.jsonl", 3, 2, 5),
        ("2.jsonl", 4, 19, 6),
    ]
