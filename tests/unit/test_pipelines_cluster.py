"""What a job asks of a cluster."""

import pytest

from batch.errors import UsageError
from pipelines.cluster import parse_replicas


@pytest.mark.parametrize(("text", "bounds"), [("1", (1, 1)), ("8", (8, 8)), ("1:4", (1, 4)), ("4:4", (4, 4))])
def test_replicas_are_a_number_or_two_bounds(text: str, bounds: tuple[int, int]) -> None:
    assert parse_replicas(text) == bounds


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1.5", "3:2", "0:2", ":", "2:x", "1:2:3"])
def test_other_replicas_are_refused_by_name_and_value(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected N or MIN:MAX") as refused:
        parse_replicas(text)

    assert repr(text) in str(refused.value)
