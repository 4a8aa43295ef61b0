"""What an engine is given of its machine."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from batch.machine import resources
from pipelines.processes import sizing
from pipelines.processes.sizing import (
    GIB,
    Machine,
    claim_share,
    cpu_engine_arguments,
    cpu_environment,
    cpu_kv_cache_bytes,
    engine_environment,
    this_machine,
)

CLAIMING = """
import sys
from pipelines.processes.sizing import claim_share
print(claim_share(sys.argv[1], 2), flush=True)
input()
"""


def test_one_engine_gets_the_whole_machine() -> None:
    machine = this_machine(0, 1)

    assert set(machine.cores) == os.sched_getaffinity(0)
    assert machine.free_memory_bytes > 0


def test_engines_share_the_cores_without_overlap_and_without_rest() -> None:
    cores = sorted(os.sched_getaffinity(0))
    shares = [this_machine(share, 2).cores for share in range(2)]

    if len(cores) > 1:
        assert sorted(shares[0] + shares[1]) == cores
        assert abs(len(shares[0]) - len(shares[1])) <= 1


def test_more_engines_than_cores_get_cores_all_the_same() -> None:
    of = len(os.sched_getaffinity(0)) + 3

    assert all(this_machine(share, of).cores for share in range(of))


@pytest.mark.parametrize(("free_gib", "cache_gib"), [(1, 1), (8, 2), (40, 10), (1000, 16)])
def test_the_cache_takes_a_quarter_of_the_free_memory_within_bounds(free_gib: int, cache_gib: int) -> None:
    assert cpu_kv_cache_bytes(Machine((0, 1), free_gib * GIB), useful=100 * GIB) == cache_gib * GIB


def test_the_cache_takes_no_more_than_the_engine_can_use() -> None:
    assert cpu_kv_cache_bytes(Machine((0, 1), 40 * GIB), useful=12345) == 12345


@pytest.mark.parametrize(("rows", "eager"), [(1, True), (49_999, True), (50_000, False)])
def test_a_cpu_engine_compiles_for_a_job_that_is_long_enough(rows: int, eager: bool) -> None:
    assert cpu_engine_arguments(rows)["enforce_eager"] is eager


def test_the_model_is_bound_to_all_cores_of_its_share() -> None:
    environment = cpu_environment(Machine((2, 3, 5), 8 * GIB), 1)

    assert environment["VLLM_CPU_OMP_THREADS_BIND"] == "2,3,5"
    assert environment["OMP_NUM_THREADS"] == "3"


def test_memory_that_a_step_has_freed_stays_with_the_engine() -> None:
    """A process so started gets memory once; another gets it anew each time, page by page."""
    faults = {
        name: int(_faults(given)) for name, given in (("kept", cpu_environment(Machine((0,), GIB), 1)), ("anew", {}))
    }

    assert faults["kept"] * 5 < faults["anew"]


def test_threads_spin_with_the_openmp_that_stops_spinning_and_sleep_with_the_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = tmp_path / "libiomp5.so"
    monkeypatch.setattr(sizing, "INTEL_OPENMP", library)
    machine = Machine((0, 1), GIB)

    assert cpu_environment(machine, 1)["OMP_WAIT_POLICY"] == "passive"
    assert "LD_PRELOAD" not in cpu_environment(machine, 1)
    library.touch()
    assert cpu_environment(machine, 1)["LD_PRELOAD"] == str(library)
    assert cpu_environment(machine, 1)["KMP_BLOCKTIME"] == "1"
    assert cpu_environment(machine, 1)["KMP_AFFINITY"] == "none"
    assert "OMP_WAIT_POLICY" not in cpu_environment(machine, 1)


def _faults(environment: dict[str, str]) -> str:
    """Page faults of a process that takes 16 MiB in pieces, and frees them, fifty times."""
    taking = "import resource\nfor _ in range(50): del [bytearray(1 << 18) for _ in range(64)][:]\n"
    counting = "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)"
    mallocs = {name: value for name, value in environment.items() if name.startswith("MALLOC_")}
    process = [sys.executable, "-c", taking + counting]
    return subprocess.run(process, env=mallocs, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `prepare` sets is undone at the end."""
    before = dict(os.environ)
    for name in [
        name
        for name in before
        if name.startswith(("VLLM_", "OMP_", "KMP_", "LD_", "HF_", "TRANSFORMERS_", "DO_NOT", "MALLOC_"))
    ]:
        monkeypatch.delenv(name)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.mark.usefixtures("environment")
def test_no_engine_reports_home_and_a_local_model_looks_for_no_hub() -> None:
    os.environ |= engine_environment(Machine((0,), GIB), 1, weights=["/", "s3://bucket/adapter"])

    assert os.environ["VLLM_NO_USAGE_STATS"] == "1"
    assert os.environ["DO_NOT_TRACK"] == "1"
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("weights", [["org/model"], ["/", "org/adapter"]])
def test_what_is_of_the_hub_may_be_fetched(weights: list[str]) -> None:
    os.environ |= engine_environment(Machine((0,), GIB), 1, weights=weights)

    assert "HF_HUB_OFFLINE" not in os.environ


@pytest.mark.usefixtures("environment")
@pytest.mark.skipif(resources.gpu_count() > 0, reason="the threads of a CPU engine are set only where there is no GPU")
def test_what_the_user_set_stays_and_what_ray_set_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray sets it, by the actor's one logical CPU

    os.environ |= engine_environment(Machine((0, 1), 8 * GIB), 1, weights=["org/model"])

    assert os.environ["DO_NOT_TRACK"] == "0"
    assert os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.usefixtures("environment")
@pytest.mark.skipif(resources.gpu_count() > 0, reason="the threads of a CPU engine are set only where there is no GPU")
def test_with_a_binding_of_the_user_the_number_of_threads_is_the_users_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_OMP_THREADS_BIND", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    os.environ |= engine_environment(Machine((0, 1), 8 * GIB), 1, weights=["org/model"])

    assert (os.environ["VLLM_CPU_OMP_THREADS_BIND"], os.environ["OMP_NUM_THREADS"]) == ("0", "1")


@contextmanager
def claimant(name: str) -> Iterator[int]:
    """The share that another process claims and holds."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLAIMING, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_two_processes_get_two_shares_and_a_dead_ones_share_is_free_again() -> None:
    name = f"test-{uuid4().hex}"

    with claimant(name) as first:
        with claimant(name) as second:
            assert {first, second} == {0, 1}
            assert claim_share(name, 2) == 0  # all are taken: better a shared one than none
        assert claim_share(name, 2) == second


def test_jobs_do_not_take_each_others_shares() -> None:
    assert [claim_share(f"test-{uuid4().hex}", 3) for _ in range(2)] == [0, 0]


def test_shares_are_claimed_without_files_so_that_nobody_can_put_a_link_or_anothers_file_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where the temporary folder cannot be written at all."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = set(Path("/tmp").glob("batchctl-*"))

    assert claim_share("../" + "x" * 300, 2) == 0
    assert claim_share("../" + "x" * 300, 2) == 1
    assert set(Path("/tmp").glob("batchctl-*-*.lock")) <= before
