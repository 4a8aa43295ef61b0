"""Ratios of repeated runs."""

import pytest

from benchmarks.estimates import speed_ratio, spread


def test_the_ratio_says_how_many_times_as_fast_ours_is() -> None:
    ratio = speed_ratio([10.0, 10.0, 10.0], [25.0, 25.0, 25.0])
    assert (ratio.value, ratio.low, ratio.high) == (2.5, 2.5, 2.5)


def test_the_interval_holds_the_ratio_and_widens_with_the_spread() -> None:
    narrow = speed_ratio([10.0, 10.1, 9.9, 10.0, 10.05], [10.0, 10.1, 9.9, 10.0, 10.05])
    wide = speed_ratio([10.0, 12.0, 8.0, 9.0, 11.0], [10.0, 12.0, 8.0, 9.0, 11.0])
    assert narrow.low <= narrow.value == 1.0 <= narrow.high
    assert wide.low < narrow.low
    assert wide.high > narrow.high


def test_one_slow_run_does_not_move_the_middle() -> None:
    assert spread([10.0, 11.0, 10.5, 10.2, 60.0]).middle == 10.5


def test_no_runs_are_an_error() -> None:
    with pytest.raises((ValueError, IndexError)):
        speed_ratio([], [1.0])
