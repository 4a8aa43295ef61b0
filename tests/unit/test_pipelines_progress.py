"""The fold from commits and engine reports to one progress."""

import pytest
from jobs import make_commit

from batch.records import EngineReport, Tally
from pipelines.progress import ProgressFold


def report(phase: str = "running", **open_shards: Tally) -> EngineReport:
    return EngineReport(1, "a", phase, {name.removeprefix("s"): tally for name, tally in open_shards.items()})


def test_nothing_is_done_at_the_beginning() -> None:
    progress = ProgressFold(10).progress(0.0, "reading")

    assert (progress.rows_total, progress.rows_done, progress.rows_per_s) == (10, 0, 0.0)
    assert progress.eta_s is None
    assert progress.message == "reading"


def test_a_commit_counts_once_also_when_its_receipt_comes_too() -> None:
    fold = ProgressFold(20)
    commit = make_commit(0, succeeded=3, failed=1)
    fold.committed([commit, commit])
    fold.settle(0, Tally(99, 99, 99, 99))

    progress = fold.progress(0.0)

    assert (progress.succeeded, progress.failed) == (3, 1)
    assert (progress.prompt_tokens, progress.completion_tokens) == (30, 15)


def test_open_shards_count_on_top_until_they_are_committed() -> None:
    fold = ProgressFold(20)
    fold.settle(0, Tally(4))
    fold.reported([report(s0=Tally(4), s1=Tally(2, 1)), report(s2=Tally(1))])
    assert fold.progress(0.0).rows_done == 8
    assert fold.failed == 1

    fold.settle(1, Tally(5, 1))
    fold.reported([report(s1=Tally(5, 1), s2=Tally(2))])

    assert fold.progress(1.0).rows_done == 4 + 6 + 2


def test_rows_of_a_lost_engine_are_taken_back_and_no_rate_is_negative() -> None:
    fold = ProgressFold(20)
    fold.reported([report(s0=Tally(8, 0, 80, 40))])
    fold.progress(0.0)
    fold.reported([])

    progress = fold.progress(2.0)

    assert progress.rows_done == 0
    assert (progress.rows_per_s, progress.prompt_tokens_per_s, progress.completion_tokens_per_s) == (0.0, 0.0, 0.0)


def test_rates_begin_with_the_first_running_engine() -> None:
    fold = ProgressFold(100)
    fold.settle(0, Tally(50))  # an earlier attempt's
    fold.reported([report("starting engine")])
    fold.progress(0.0)
    was_running = fold.is_running

    fold.reported([report(s1=Tally())])
    assert (was_running, fold.is_running) == (False, True)
    fold.progress(20.0)
    fold.reported([report(s1=Tally(10, 0, 200, 40))])
    progress = fold.progress(22.0)

    assert progress.rows_per_s == pytest.approx(5.0)
    assert progress.prompt_tokens_per_s == pytest.approx(100.0)
    assert progress.completion_tokens_per_s == pytest.approx(20.0)
    assert progress.eta_s == pytest.approx(8.0)  # 40 rows are left


def test_rates_forget_what_was_before_the_window() -> None:
    fold = ProgressFold(10_000)
    fold.reported([report(s0=Tally())])
    for second in range(0, 62, 2):
        rows = 1000 if second >= 2 else 0  # all in the first two seconds, then nothing
        fold.reported([report(s0=Tally(rows))])
        progress = fold.progress(float(second))

    assert progress.rows_per_s == 0.0
    assert progress.eta_s is None
