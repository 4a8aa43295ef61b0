from dataclasses import replace

import orjson
import pytest
from jobs import ENGINE, make_commit, make_part, make_plan, make_spec

from batch.errors import JobFailed
from batch.planning.plan import Plan, PlannedInput
from batch.records.manifest import (
    Closing,
    FinalState,
    LedgerOpen,
    Manifest,
    close_ledger,
    decode_manifest,
    encode_manifest,
    reason_of,
)
from batch.records.objects import Commit, CorruptRecord, Stop, StopState

CLOSING = Closing(ENGINE, 2, "2026-01-31T11:30:00.000000Z", "2026-01-31T11:40:00.000000Z", "main")


def close(commits: list[Commit], plan: Plan | None = None, stop: Stop | None = None) -> Manifest:
    by_shard = {commit.shard: commit for commit in commits}
    return close_ledger(make_spec(), plan or make_plan(), commits=by_shard, stop=stop, closing=CLOSING)


def test_the_ledger_has_the_fields_that_users_read() -> None:
    written = orjson.loads(
        encode_manifest(close([replace(make_commit(1, 1, 1), copied=1), replace(make_commit(0, 3), copied=2)]))
    )
    assert written == {
        "format": 1,
        "job_id": "job-1",
        "state": "COMPLETED",
        "spec_digest": make_spec().digest,
        "lines": 6,
        "blank": 1,
        "succeeded": 4,
        "failed": 1,
        "failed_by_code": {"malformed_json": 1},
        "inputs": [{"uri": "memory://inputs/a.jsonl", "bytes": 60, "etag": "etag", "lines": 6}],
        "results": [
            {"key": "results/part-00000-a.jsonl", "rows": 3, "bytes": 30, "sha256": "0" * 64},
            {"key": "results/part-00001-a.jsonl", "rows": 1, "bytes": 10, "sha256": "0" * 64},
        ],
        "errors": [{"key": "errors/part-00001-a.jsonl", "rows": 1, "bytes": 10, "sha256": "0" * 64}],
        "usage": {"prompt_tokens": 40, "completion_tokens": 20, "total_tokens": 60, "cached_tokens": 4},
        "rows_served_by_deduplication": 3,
        "model": {"name": "m", "revision": "main"},
        "engine": {"name": "echo", "version": "1", "config": {"delay_s": 0.5}},
        "attempts": 2,
        "created_at": "2026-01-31T11:00:00.000000Z",
        "started_at": "2026-01-31T11:30:00.000000Z",
        "finished_at": "2026-01-31T11:40:00.000000Z",
        "continued_from": None,
    }


def test_a_manifest_reads_back() -> None:
    manifest = close([make_commit(0, 2, 1), make_commit(1, 0, 2)])
    assert decode_manifest(encode_manifest(manifest), key="manifest.json") == manifest


@pytest.mark.parametrize("content", [b"", b"[]", b"7", b'{"format":1}', b'{"format":3}'])
def test_a_damaged_manifest_is_named(content: bytes) -> None:
    with pytest.raises(CorruptRecord, match=r"^manifest\.json: "):
        decode_manifest(content, key="manifest.json")


@pytest.mark.parametrize("state", list(StopState))
def test_a_stop_decides_the_state(state: StopState) -> None:
    stop = Stop(state, "because", "2026-01-31T11:35:00.000000Z")
    assert close([make_commit(0, 3), make_commit(1, 2)], stop=stop).state == FinalState(state.value)


@pytest.mark.parametrize(
    ("commits", "said"),
    [
        ([make_commit(0, 3)], "shard 1 has no commit"),
        ([make_commit(0, 3), make_commit(1, 1)], "shard 1: planned 2 rows, committed 1 succeeded + 0 failed = 1"),
        ([make_commit(0, 3), make_commit(1, 2, 1)], "shard 1: planned 2 rows, committed 2 succeeded + 1 failed = 3"),
        (
            [make_commit(0, 3), replace(make_commit(1, 2), results=make_part("results", 1, 1))],
            "shard 1: the commit counts 2 results, its part holds 1 rows",
        ),
        (
            [make_commit(0, 3), replace(make_commit(1, 1, 1), errors=None)],
            "shard 1: the commit counts 1 errors, its part holds 0 rows",
        ),
    ],
)
def test_a_line_without_an_end_keeps_the_ledger_open(commits: list[Commit], said: str) -> None:
    with pytest.raises(LedgerOpen) as caught:
        close(commits)
    assert said in str(caught.value)
    assert isinstance(caught.value, JobFailed)


def test_lines_that_no_shard_holds_keep_the_ledger_open() -> None:
    plan = make_plan()
    forgotten = replace(plan, inputs=(replace(plan.inputs[0], lines=plan.lines + 1),))
    with pytest.raises(LedgerOpen, match="7 lines, but 1 blank \\+ 5 with a result = 6"):
        close([make_commit(0, 3), make_commit(1, 2)], plan=forgotten)


def test_each_input_closes_for_itself() -> None:
    """One line too many in a file does not pay for one too few in another."""
    plan = make_plan()
    second = PlannedInput("memory://inputs/b.jsonl", 1, "etag", "jsonl", lines=3, blank=0)
    moved_span = replace(plan.shards[1].spans[0], input=1)
    moved = Plan(
        (replace(plan.inputs[0], lines=3, blank=0), second),
        (plan.shards[0], replace(plan.shards[1], spans=(moved_span,))),
    )
    with pytest.raises(LedgerOpen, match=r"inputs/b\.jsonl: 3 lines"):
        close([make_commit(0, 3), make_commit(1, 2)], plan=moved)


def test_a_job_without_rows_closes() -> None:
    manifest = close([], plan=make_plan((), blank=4))
    assert (manifest.lines, manifest.blank, manifest.succeeded, manifest.failed) == (4, 4, 0, 0)
    assert (manifest.state, manifest.results, manifest.errors) == (FinalState.COMPLETED, (), ())


@pytest.mark.parametrize(
    ("budget", "state"),
    [(None, "COMPLETED"), ("3", "COMPLETED"), ("2", "FAILED"), ("50%", "COMPLETED"), ("49%", "FAILED")],
)
def test_rows_that_failed_last_count_against_the_budget(budget: str | None, state: str) -> None:
    """No heartbeat may have seen them: the ledger itself is where the budget holds."""
    spec, plan = make_spec(max_failed_rows=budget), make_plan((3, 3))
    commits = {0: make_commit(0, 3), 1: make_commit(1, 0, 3)}

    manifest = close_ledger(spec, plan, commits=commits, stop=None, closing=CLOSING)

    assert manifest.state == state
    assert manifest.exit_code == (1 if state == "FAILED" else 0)
    said = f"3 rows failed; --max-failed-rows {budget} allows 2." if state == "FAILED" else ""
    assert reason_of(manifest, spec, stop=None) == said


def test_a_stop_goes_before_the_budget() -> None:
    spec, stop = make_spec(max_failed_rows="0"), Stop(StopState.CANCELLED, "enough", "2026-01-31T11:35:00.000000Z")

    manifest = close_ledger(
        spec, make_plan(), commits={0: make_commit(0, 3), 1: make_commit(1, 0, 2)}, stop=stop, closing=CLOSING
    )

    assert (manifest.state, manifest.exit_code) == (FinalState.CANCELLED, 3)
    assert reason_of(manifest, spec, stop) == "enough"


def test_a_job_without_one_answer_is_no_success_and_says_what_took_its_rows() -> None:
    codes = {0: {"model_mismatch": 3}, 1: {"malformed_json": 1, "model_mismatch": 1}}
    commits = [
        replace(make_commit(shard, 0, sum(by_code.values())), failed_by_code=by_code)
        for shard, by_code in codes.items()
    ]

    manifest = close(commits)

    assert (manifest.state, manifest.exit_code) == (FinalState.COMPLETED, 1)
    assert reason_of(manifest, make_spec(), stop=None) == (
        "No row succeeded: 4 failed with model_mismatch, 1 failed with malformed_json."
    )


def test_a_job_with_one_answer_or_without_rows_is_a_success() -> None:
    one, none = close([make_commit(0, 1, 2), make_commit(1, 0, 2)]), close([], plan=make_plan((), blank=4))

    assert [manifest.exit_code for manifest in (one, none)] == [0, 0]
    assert [reason_of(manifest, make_spec(), stop=None) for manifest in (one, none)] == ["", ""]
