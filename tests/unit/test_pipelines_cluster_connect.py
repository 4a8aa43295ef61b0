"""What a job asks of a cluster."""

import pytest
from specs import job_spec

from batch.machine.resources import ELSEWHERE, Machine
from pipelines.cluster.connect import Replicas, choose_replicas


@pytest.mark.parametrize(
    ("gpus", "replicas", "arguments", "chosen"),
    [
        (8, None, {}, Replicas(8, 8, 1, 1)),
        (8, None, {"tensor_parallel_size": 2}, Replicas(4, 4, 2, 2)),
        (8, None, {"tensor_parallel_size": 4, "pipeline_parallel_size": 4}, Replicas(1, 1, 16, 16)),
        (8, "3", {}, Replicas(3, 3, 1, 1)),
        (0, "2:6", {}, Replicas(2, 4, 0, 1)),
        (0, "1:9", {"tensor_parallel_size": 2}, Replicas(1, 2, 0, 2)),
        (0, "9", {}, Replicas(9, 9, 0, 1)),
        (0, None, {"tensor_parallel_size": 2}, Replicas(1, 1, 0, 2)),
    ],
)
def test_replicas_are_those_that_were_asked_for_or_fit_the_gpus(
    gpus: int, replicas: str | None, arguments: dict[str, object], chosen: Replicas
) -> None:
    assert choose_replicas(job_spec(engine_args=arguments), replicas, Machine(4, gpus)) == chosen


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
    assert choose_replicas(job_spec(engine="echo", engine_args={"gpus": each}), None, Machine(4, gpus)) == chosen


def test_an_engine_elsewhere_is_one_and_takes_no_gpu() -> None:
    assert choose_replicas(job_spec(engine="openai"), None, Machine(4, 8)) == Replicas(1, 1, 0, 1)


def test_what_a_cluster_has_is_not_known_before_it_is_joined() -> None:
    assert choose_replicas(job_spec(), "1:99", ELSEWHERE) == Replicas(1, 99, 0, 1)


def test_a_cluster_that_has_no_gpu_yet_is_asked_for_those_that_an_engine_cannot_do_without() -> None:
    echo = job_spec(engine="echo", engine_args={"gpus": 2})

    assert choose_replicas(echo, "1:9", Machine(4, 0), may_grow=True) == Replicas(1, 9, 2, 2)
    assert choose_replicas(job_spec(engine="openai"), "1:9", Machine(4, 0), may_grow=True) == Replicas(1, 9, 0, 1)


def test_engines_that_only_wait_take_no_cores() -> None:
    assert choose_replicas(job_spec(engine="openai"), "1:99", Machine(2, 0)) == Replicas(1, 99, 0, 1)
