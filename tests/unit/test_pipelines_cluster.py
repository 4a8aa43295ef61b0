"""What a job asks of a cluster."""

import pytest
from specs import job_spec

from batch.errors import UsageError
from pipelines.cluster import Replicas, choose_replicas, parse_replicas


@pytest.mark.parametrize(("text", "bounds"), [("1", (1, 1)), ("8", (8, 8)), ("1:4", (1, 4)), ("4:4", (4, 4))])
def test_replicas_are_a_number_or_two_bounds(text: str, bounds: tuple[int, int]) -> None:
    assert parse_replicas(text) == bounds


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1.5", "3:2", "0:2", ":", "2:x", "1:2:3"])
def test_other_replicas_are_refused_by_name_and_value(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected N or MIN:MAX") as refused:
        parse_replicas(text)

    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("gpus", "replicas", "arguments", "chosen"),
    [
        (8, None, {}, Replicas(8, 8, 1, 1)),
        (8, None, {"tensor_parallel_size": 2}, Replicas(4, 4, 2, 2)),
        (8, None, {"tensor_parallel_size": 4, "pipeline_parallel_size": 4}, Replicas(1, 1, 16, 16)),
        (8, "3", {}, Replicas(3, 3, 1, 1)),
        (0, "2:6", {}, Replicas(2, 6, 0, 1)),
        (0, None, {"tensor_parallel_size": 2}, Replicas(1, 1, 0, 2)),
    ],
)
def test_replicas_are_those_that_were_asked_for_or_fit_the_gpus(
    gpus: int, replicas: str | None, arguments: dict[str, object], chosen: Replicas
) -> None:
    assert choose_replicas(job_spec(engine_args=arguments), replicas, gpus=gpus) == chosen


@pytest.mark.parametrize(
    ("gpus", "each", "chosen"),
    [
        (8, 0, Replicas(1, 1, 0, 1)),
        (8, 1, Replicas(8, 8, 1, 1)),
        (8, 4, Replicas(2, 2, 4, 4)),
        (0, 1, Replicas(1, 1, 0, 1)),
    ],
)
def test_an_echo_takes_the_gpus_that_it_is_told_to(gpus: int, each: int, chosen: Replicas) -> None:
    assert choose_replicas(job_spec(engine="echo", engine_args={"gpus": each}), None, gpus=gpus) == chosen


def test_an_engine_elsewhere_is_one_and_takes_no_gpu() -> None:
    assert choose_replicas(job_spec(engine="openai"), None, gpus=8) == Replicas(1, 1, 0, 1)
