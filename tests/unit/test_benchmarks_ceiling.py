"""What a prefix cache without end would serve, counted by hand."""

from random import Random

import pytest

from benchmarks.ceiling import cached_at_most

A, B, C = (1, 2), (3, 4), (5, 6)


@pytest.mark.parametrize(
    ("prompts", "cached"),
    [
        ([], 0),
        ([[*A, 9], [*A, 8]], 2),
        ([[*A, *B, 9], [*A, *B, 8], [*A, *C, 8]], 6),
        ([[*A, *B, 9], [*B, *A, 9]], 0),  # the same blocks, but not after the same beginning
        ([[*A, *B], [*A, *B]], 2),  # the last token is always computed, so its block is not used
        ([[*A, *B], [*A, *B, 9]], 4),  # but it is kept for others
        ([[1, 7, *B], [*A, *B]], 0),
        ([[1], [1]], 0),
    ],
)
def test_whole_blocks_with_all_before_them_count(prompts: list[list[int]], cached: int) -> None:
    assert cached_at_most(prompts, block_size=2) == cached


def test_the_order_does_not_matter() -> None:
    random = Random(5)
    prompts = [random.choices((1, 2), k=random.randint(1, 9)) for _ in range(200)]
    shuffled = random.sample(prompts, len(prompts))
    assert cached_at_most(prompts, block_size=2) == cached_at_most(shuffled, block_size=2) > 0
