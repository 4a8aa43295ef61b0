"""Medians, and ratios of medians with the interval that the repeats allow. Pure; the seed is an argument."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import median

DRAWS = 10_000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as fast ours is: above 1 it is faster. `low` and `high` bound 95 % of the resampled ratios."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some repeats, and their extremes."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"{self.middle:.1f} ({self.least:.1f}-{self.most:.1f})"


def spread(values: Sequence[float]) -> Spread:
    """Return median, minimum and maximum. ValueError for no values."""
    return Spread(median(values), min(values), max(values))


def speed_ratio(ours_s: Sequence[float], theirs_s: Sequence[float], *, seed: int = 0) -> Ratio:
    """Return median of theirs / median of ours, with a percentile bootstrap over the runs of each.

    ValueError for no values. With fewer than about five runs each the interval says little.
    """
    random = Random(seed)
    drawn = sorted(
        median(random.choices(theirs_s, k=len(theirs_s))) / median(random.choices(ours_s, k=len(ours_s)))
        for _ in range(DRAWS)
    )
    tail = int(DRAWS * (1 - LEVEL) / 2)
    return Ratio(median(theirs_s) / median(ours_s), drawn[tail], drawn[-1 - tail])
