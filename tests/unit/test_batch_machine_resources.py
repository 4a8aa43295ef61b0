"""What a job takes of a machine, and how it is told that there is less."""

import os

import pytest
from specs import job_spec

from batch.errors import UsageError
from batch.machine.resources import Machine, check_attempt, check_fits, parse_replicas, this_machine, visible


@pytest.mark.parametrize(("text", "bounds"), [("1", (1, 1)), ("8", (8, 8)), ("1:4", (1, 4)), ("4:4", (4, 4))])
def test_replicas_are_a_number_or_two_bounds(text: str, bounds: tuple[int, int]) -> None:
    assert parse_replicas(text) == bounds


@pytest.mark.parametrize("text", ["", "0", "-1", "two", "1.5", "3:2", "0:2", ":", "2:x", "1:2:3"])
def test_other_replicas_are_refused_by_name_and_value(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected N or MIN:MAX") as refused:
        parse_replicas(text)

    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "replicas", "machine", "words"),
    [
        ({}, "99", Machine(2, 0), "99 engines of 1 rank take 99 cores, and this machine has 2"),
        ({}, "99", Machine(128, 8), "99 engines of 1 rank take 99 GPUs, and this machine has 8"),
        ({"tensor_parallel_size": 4}, None, Machine(2, 0), "1 engine of 4 ranks take 4 cores, and this machine has 2"),
        ({"tensor_parallel_size": 4}, None, Machine(64, 1), "1 engine of 4 ranks take 4 GPUs, and this machine has 1"),
        ({"tensor_parallel_size": 2, "pipeline_parallel_size": 2}, "3:9", Machine(1, 8), "12 GPUs"),
        ({"prefill_context_parallel_size": 16}, None, Machine(1, 8), "16 GPUs"),
        ({"data_parallel_size": 16}, None, Machine(1, 8), "16 GPUs"),
    ],
)
def test_more_than_the_machine_has_is_refused_with_what_it_has(
    arguments: dict[str, object], replicas: str | None, machine: Machine, words: str
) -> None:
    with pytest.raises(UsageError) as refused:
        check_fits(job_spec(engine_args=arguments), replicas, machine)

    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("engine", "arguments", "replicas", "machine"),
    [
        ("vllm", {}, None, Machine(1, 0)),
        ("vllm", {}, "2:99", Machine(2, 0)),
        ("vllm", {"tensor_parallel_size": 8}, None, Machine(4, 8)),
        ("openai", {}, "99", Machine(2, 0)),
        ("echo", {}, "99", Machine(2, 0)),
        ("echo", {"gpus": 2}, "2", Machine(1, 4)),
    ],
)
def test_what_fits_passes(engine: str, arguments: dict[str, object], replicas: str | None, machine: Machine) -> None:
    check_fits(job_spec(engine=engine, engine_args=arguments), replicas, machine)


def test_a_cluster_at_an_address_may_have_more_than_this_machine() -> None:
    check_attempt(job_spec(engine="echo", engine_args={"gpus": 999}), replicas="99", ray_address="auto")


def test_this_machine_has_the_cores_that_this_process_may_use() -> None:
    assert this_machine().cores == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("setting", "gpus"),
    [(None, 8), ("", 0), ("-1", 0), ("3", 1), ("0, 1", 2), ("GPU-1a,GPU-2b,GPU-3c", 3), ("0,1,2,3,4,5,6,7,8,9", 8)],
)
def test_gpus_that_cuda_hides_do_not_count(setting: str | None, gpus: int) -> None:
    assert visible(8, setting) == gpus
