"""Scattered rows that are brought together, and their results put back into the order of the input."""

import gzip
from dataclasses import replace
from itertools import groupby
from typing import Any
from uuid import uuid4

import orjson
import pytest
from endings import plan_of
from engines import Line, ScriptedEngine, chat, file_content, ids, output, run_job
from jobs import ENGINE, HOLDER, FakeClock, make_spec

from batch.jobs.lease import claim
from batch.jobs.prefix_clustering import cluster_by_prefix, deal, in_input_order
from batch.jobs.store import JobStore
from batch.planning.plan import decode_plan, encode_plan, make_plan
from batch.records.manifest import LedgerOpen, Manifest
from batch.submission.retry_failed import continue_plan, continue_spec
from connectors.datasets.reader import PieceReader
from connectors.stores.registry import open_store
from pipelines.attempt.finalize import finalize

ENGINES = 4
SUBJECTS = 25


def scattered(count: int, *, name: str = "r") -> list[object]:
    """Rows on 25 subjects in turn, with a blank line, a bad one and a repeated id now and then."""
    lines: list[object] = [
        chat(f"{name}{n if n % 40 else 0}", f"Subject {n % SUBJECTS}: {f'{n % SUBJECTS} ' * 300} question {n}")
        for n in range(count)
    ]
    lines[7::31] = [b"not json"] * len(lines[7::31])
    lines[11::53] = [b" "] * len(lines[11::53])
    return lines


def planned(*files: tuple[str, bytes], engines: int = ENGINES, **spec: Any) -> JobStore:
    """A job over these files, for so many engines."""
    root = f"memory://reordering-{uuid4().hex}"
    for name, stored in files:
        open_store(root).put(name, stored)
    inputs = tuple(f"{root}/{name}" for name, _ in files)
    job = JobStore.open(f"{root}/out")
    asked = make_spec(inputs=inputs, output=job.uri, shard_rows=20, **spec)
    job.create_spec(asked)
    job.create_plan(cluster_by_prefix(job, make_plan(asked, max_replicas=engines), engines=engines))
    return job


def finished(job: JobStore) -> Manifest:
    claim(job, HOLDER, clock=FakeClock())
    run_job(job, ScriptedEngine())
    return finalize(job, plan_of(job), epoch=1, engine=ENGINE, clock=FakeClock())


class Enough(Exception):
    pass


@pytest.mark.parametrize("after", [0, 3])
def test_rows_are_not_brought_together_to_the_end_for_a_job_that_ends(after: int) -> None:
    job = planned(("in.jsonl", file_content(scattered(300))), engines=1)
    plan = make_plan(job.spec(), max_replicas=ENGINES)
    heeded: list[int] = []

    def heed() -> None:
        heeded.append(1)
        if len(heeded) > after:
            raise Enough

    with pytest.raises(Enough):
        cluster_by_prefix(job, plan, engines=ENGINES, heed=heed)
    assert len(heeded) == after + 1


def without_files(lines: list[Line]) -> list[Line]:
    return [line | {"error": line["error"] and line["error"] | {"file": ""}} for line in lines]


def rows_of(job: JobStore) -> list[list[Line]]:
    """The good rows of each shard, in the order in which they are run."""
    plan, reader = plan_of(job), PieceReader(max_line_bytes=10**6)
    read = [reader.read(plan.file_of(shard, span), span.piece) for shard in plan.shards for span in shard.spans]
    return [[orjson.loads(row.raw) for row in rows if row.raw.startswith(b"{")] for rows in read]


@pytest.mark.parametrize("output_format", ["jsonl", "parquet"])
def test_the_output_is_that_of_a_job_in_input_order(output_format: str) -> None:
    lines = file_content(scattered(600))
    moved = planned(("in.jsonl", lines), output_format=output_format)
    as_given = planned(("in.jsonl", lines), output_format=output_format, order_by_prefix=False)

    ledger, expected = finished(moved), finished(as_given)

    assert plan_of(moved).copies
    assert not plan_of(as_given).copies
    for kind in ("results", "errors"):
        assert without_files(output(moved, kind)) == without_files(output(as_given, kind))
        assert [part.rows for part in getattr(ledger, kind)] == [part.rows for part in getattr(expected, kind)]
    assert (ledger.lines, ledger.blank, ledger.failed_by_code) == (600, expected.blank, expected.failed_by_code)
    assert set(ledger.failed_by_code) == {"malformed_json", "duplicate_custom_id"}
    assert ledger.usage == expected.usage


def test_shards_hold_rows_that_share_a_prefix_and_neighbours_go_to_one_engine() -> None:
    shards = rows_of(planned(("in.jsonl", file_content(scattered(600)))))

    hands = [shards[engine::ENGINES] for engine in range(ENGINES)]
    subjects = [
        [row["body"]["messages"][0]["content"].split(":")[0] for rows in hand for row in rows] for hand in hands
    ]

    assert sum(len([subject for subject, _ in groupby(hand)]) for hand in subjects) <= SUBJECTS + ENGINES - 1


def test_files_that_are_not_worth_it_stay_as_they_are() -> None:
    alone = gzip.compress(file_content([chat(f"a{n}", f"{n} alone") for n in range(50)]))
    job = planned(("a.jsonl.gz", alone), ("b.jsonl", file_content(scattered(400, name="b"))))

    ledger = finished(job)

    assert {shard.spans[0].input for shard in plan_of(job).shards if shard.copy is None} == {0}
    assert {shard.spans[0].input for shard in plan_of(job).shards if shard.copy is not None} == {1}
    assert ids(job)[:50] == [f"a{n}" for n in range(50)]
    answered = [int(str(name)[1:]) for name in ids(job)[50:]]
    assert answered == sorted(answered)
    assert ledger.lines == ledger.blank + ledger.succeeded + ledger.failed == 450


def test_one_engine_that_holds_all_rows_open_needs_no_copy() -> None:
    assert plan_of(planned(("in.jsonl", file_content(scattered(600))), engines=1)).copies == ()


def test_copies_go_when_the_job_has_ended() -> None:
    job = planned(("in.jsonl", file_content(scattered(300))))
    store = open_store(job.uri)
    assert list(store.list("_job/copies/"))

    ledger = finished(job)

    assert not list(store.list("_job/copies/"))
    kept = {found.key for kind in ("results/", "errors/") for found in store.list(kind)}
    assert kept == {part.key for part in (*ledger.results, *ledger.errors)}


def test_failed_rows_of_copied_lines_can_be_run_again() -> None:
    old = planned(("in.jsonl", file_content(scattered(300))))
    failed = finished(old).failed_by_code
    spec = continue_spec(old, ["malformed_json"], job_id="again", output=f"{old.uri}-again", created_at="now")

    plan = continue_plan(spec)

    numbers = [error["error"]["line"] for error in output(old, "errors") if error["error"]["code"] == "malformed_json"]
    assert [line for shard in plan.shards for line in shard.spans[0].only] == numbers
    assert plan.rows == failed["malformed_json"] == len(numbers)


def test_a_plan_with_copies_is_read_back_as_it_was() -> None:
    plan = plan_of(planned(("in.jsonl", file_content(scattered(300)))))

    assert decode_plan(encode_plan(plan)) == plan
    assert sorted(n for shard in plan.shards for n in shard.spans[0].duplicates) == sorted(
        n for shard in plan.in_input_order for n in shard.spans[0].duplicates
    )


def test_a_part_with_a_row_too_many_leaves_the_ledger_open() -> None:
    job = planned(("in.jsonl", file_content(scattered(300))))
    claim(job, HOLDER, clock=FakeClock())
    first, *others = run_job(job, ScriptedEngine())
    assert first.results is not None
    lines = list(job.lines_of(first.results))
    twice = job.write_part("results", first.shard, attempt="twice", lines=[*lines, lines[0]])
    commits = {commit.shard: commit for commit in others} | {first.shard: replace(first, results=twice)}

    with pytest.raises(LedgerOpen, match="not its own, or one twice"):
        in_input_order(job, plan_of(job), commits, attempt="a")
    fewer = job.write_part("results", first.shard, attempt="fewer", lines=lines[1:])
    with pytest.raises(LedgerOpen, match="1 of its rows are in no part"):
        in_input_order(job, plan_of(job), commits | {first.shard: replace(first, results=fewer)}, attempt="b")


@pytest.mark.parametrize(("count", "hands"), [(0, 2), (1, 3), (7, 3), (12, 4), (5, 1), (3, 8)])
def test_each_hand_gets_neighbours(count: int, hands: int) -> None:
    dealt = list(deal(list(range(count)), hands))

    assert [item for hand in range(hands) for item in dealt[hand::hands]] == list(range(count))
