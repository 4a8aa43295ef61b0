"""What a job asks of a cluster."""

import pytest
from specs import job_spec

from batch.errors import UsageError
from pipelines import sizing
from pipelines.cluster import expected_engines, parse_replicas


@pytest.mark.parametrize(("text", "bounds"), [("1", (1, 1)), ("8", (8, 8)), ("1:4", (1, 4)), ("4:4", (4, 4))])
def test_replicas_are_a_number_or_two_bounds(text: str, bounds: tuple[int, int]) -> None:
    assert parse_replicas(text) == bounds


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1.5", "3:2", "0:2", ":", "2:x", "1:2:3"])
def test_other_replicas_are_refused_by_name_and_value(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected N or MIN:MAX") as refused:
        parse_replicas(text)

    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("address", "replicas", "arguments", "engines"),
    [
        (None, None, {}, 8),
        (None, None, {"tensor_parallel_size": 2}, 4),
        (None, None, {"tensor_parallel_size": 4, "pipeline_parallel_size": 4}, 1),
        (None, "3", {}, 3),
        ("ray://head:10001", "2:6", {}, 6),
        ("ray://head:10001", None, {}, 1),  # what it has is told by the cluster only
    ],
)
def test_the_engines_to_expect_are_those_that_were_asked_for_or_fit_the_machine(
    address: str | None,
    replicas: str | None,
    arguments: dict[str, object],
    engines: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sizing, "gpu_count", lambda: 8)

    assert expected_engines(job_spec(engine_args=arguments), address, replicas) == engines
