"""What a job asks of a cluster."""

import pytest
from specs import job_spec

from batch.errors import UsageError
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
    ("gpus", "replicas", "arguments", "engines"),
    [
        (8, None, {}, 8),
        (8, None, {"tensor_parallel_size": 2}, 4),
        (8, None, {"tensor_parallel_size": 4, "pipeline_parallel_size": 4}, 1),
        (8, "3", {}, 3),
        (0, "2:6", {}, 6),
        (0, None, {}, 1),
    ],
)
def test_the_engines_to_expect_are_those_that_were_asked_for_or_fit_the_machine(
    gpus: int, replicas: str | None, arguments: dict[str, object], engines: int
) -> None:
    assert expected_engines(job_spec(engine_args=arguments), replicas, gpus=gpus) == engines


def test_an_engine_without_a_gpu_is_one() -> None:
    assert expected_engines(job_spec(engine="echo"), None, gpus=8) == 1
