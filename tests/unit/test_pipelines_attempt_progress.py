"""The fold from commits and engine reports to one progress."""

from dataclasses import replace

import pytest
from jobs import make_commit

from batch.phases import Phase
from batch.records.objects import EngineLoad, EngineReport, Progress, Tally
from pipelines.attempt.progress import ProgressFold, log_line


def report(phase: Phase = Phase.RUNNING, **open_shards: Tally) -> EngineReport:
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


def test_rows_of_a_lost_engine_stay_told_until_as_many_are_done_and_no_rate_is_negative() -> None:
    fold = ProgressFold(20)
    fold.reported([report(s0=Tally(8, 0, 80, 40))])
    fold.progress(0.0)
    fold.reported([])

    progress = fold.progress(2.0)

    assert (progress.rows_done, progress.prompt_tokens) == (8, 80)
    assert (progress.rows_per_s, progress.prompt_tokens_per_s, progress.completion_tokens_per_s) == (0.0, 0.0, 0.0)

    fold.reported([report(s0=Tally(8, 1, 70, 30))])

    progress = fold.progress(3.0)
    assert (progress.rows_done, progress.failed, progress.prompt_tokens) == (9, 1, 70)
    assert fold.failed == 1


def test_what_the_attempt_before_told_is_told_until_this_one_has_done_as_much() -> None:
    fold = ProgressFold(20, so_far=Tally(9, 1))
    fold.settle(0, Tally(4))

    assert (fold.progress(0.0).rows_done, fold.failed) == (10, 0)

    fold.settle(1, Tally(8))

    assert (fold.progress(1.0).succeeded, fold.progress(1.0).failed) == (12, 0)


def test_before_an_engine_answers_there_is_neither_speed_nor_time_left() -> None:
    fold = ProgressFold(20)
    fold.reported([report(Phase.STARTING_ENGINE, s0=Tally(0, 5))])
    fold.progress(0.0)
    fold.reported([report(Phase.STARTING_ENGINE, s0=Tally(0, 20))])

    progress = fold.progress(2.0)

    assert (progress.rows_done, progress.rows_per_s, progress.eta_s) == (20, 0.0, None)


def test_failed_rows_are_no_speed() -> None:
    fold = ProgressFold(1000)
    fold.reported([report(s0=Tally())])
    fold.progress(0.0)
    fold.reported([report(s0=Tally(10, 490))])

    progress = fold.progress(2.0)

    assert progress.rows_per_s == pytest.approx(5.0)
    assert progress.eta_s == pytest.approx(100.0)


def test_when_no_row_is_left_no_time_is_left_to_tell() -> None:
    fold = ProgressFold(10)
    fold.reported([report(s0=Tally())])
    fold.progress(0.0)
    fold.reported([report(s0=Tally(10))])

    assert fold.progress(2.0).eta_s is None


def test_the_line_for_the_log_says_what_the_engines_do() -> None:
    progress = Progress(10_000, 1_200, 34, rows_per_s=45.2, prompt_tokens_per_s=3400.0, completion_tokens_per_s=900.0)
    silent = EngineReport(1, "a", Phase.RUNNING, in_flight=256, in_line=1_024)
    telling = EngineReport(1, "b", Phase.RUNNING, in_flight=384, load=EngineLoad(256, 128, 0.431, 3))

    assert log_line(progress, [silent]) == (
        "1,234 of 10,000 rows done, 34 failed, 256 in flight, 1,024 in line; 45 rows/s, 3,400 tokens/s in, 900 out"
    )
    assert log_line(progress, [silent, telling]).endswith(
        "; KV cache 43 % used, 128 waiting in the engine, 3 preemptions"
    )
    assert "640 in flight" in log_line(progress, [silent, telling])


def test_rates_begin_with_the_first_running_engine() -> None:
    fold = ProgressFold(100)
    fold.settle(0, Tally(50))  # an earlier attempt's
    fold.reported([report(Phase.STARTING_ENGINE)])
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


def test_it_is_told_that_only_rows_in_flight_are_left() -> None:
    fold = ProgressFold(4)
    fold.reported([replace(report(s0=Tally(1, 1)), in_flight=1), replace(report(s1=Tally()), in_flight=1)])
    assert fold.progress(100.0).message == ""
    assert fold.progress(159.0).message == ""
    assert fold.progress(160.0).message == "waits for the last 2 rows, no answer for 60 s"

    fold.reported([replace(report(s0=Tally(2, 1)), in_flight=1)])
    assert fold.progress(162.0).message == ""
    assert fold.progress(300.0).message == "waits for the last row, no answer for 138 s"


def test_rows_in_line_are_more_than_a_few_in_flight() -> None:
    fold = ProgressFold(4)
    fold.reported([replace(report(s0=Tally(1)), in_flight=1, in_line=2)])
    fold.progress(0.0)
    assert fold.progress(1000.0).message == ""
