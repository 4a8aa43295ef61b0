"""Whole jobs that ask for GPUs, on a Ray that was told of two that are not there: engine echo asks as vllm does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_nodes import ray_nodes
from terminal import Output, Terminal, clean_environment, cluster, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]

GPUS = 2
MANY = 16_000
"""Rows of more shards than the engine that is up first takes at once."""
RUN = ("run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out")


@pytest.fixture(scope="module")
def gpu_cluster(person: dict[str, str]) -> Iterator[str]:
    with cluster(person, gpus=GPUS) as address:
        yield address


@pytest.fixture
def on_cluster(person: dict[str, str], gpu_cluster: str, tmp_path: Path) -> Terminal:
    """Where `run` is told the address of a cluster with two GPUs."""
    return Terminal(tmp_path, person, ray=gpu_cluster)


def run(terminal: Terminal, *words: str, rows: int = 600, delay_s: float = 0.3) -> tuple[set[str], str]:
    """Run a job to its good end; return the names of the engines that committed, and the GPUs the last one had."""
    lines = (json.dumps({"custom_id": f"row-{n:05d}", "prompt": f"number {n}"}) for n in range(rows))
    (terminal.folder / "in.jsonl").write_text("\n".join(lines) + "\n")
    ended = terminal.run(*RUN, "--engine-arg", f"delay_s={delay_s}", *words)
    assert ended.returncode == 0, ended.stderr
    output = Output(terminal.folder / "out")
    assert [row["custom_id"] for row in output.rows("results")] == [f"row-{n:05d}" for n in range(rows)]
    engines = {commit.attempt.rpartition("-")[0] for commit in output.commit_records()}
    return engines, output.manifest()["engine"]["config"]["gpus"]


def test_a_cluster_gets_an_engine_for_each_gpu(on_cluster: Terminal) -> None:
    # So slow that the second engine comes in time, however busy the machine is.
    engines, gpus = run(on_cluster, "--engine-arg", "gpus=1", rows=MANY, delay_s=0.6)

    assert len(engines) == GPUS
    assert gpus in {"0", "1"}


def test_an_engine_of_a_pool_has_all_the_gpus_that_it_asks_for(on_cluster: Terminal) -> None:
    engines, gpus = run(on_cluster, "--engine-arg", "gpus=2", "--replicas", "1:2")

    assert len(engines) == 1
    assert sorted(gpus.split(",")) == ["0", "1"]


GROWING = """
import sys
from ray.cluster_utils import Cluster
node = dict(object_store_memory=128 << 20, include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args=node | dict(num_cpus=2, num_gpus=0))
print(cluster.address, flush=True)
sys.stdin.readline()
cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=128 << 20)
sys.stdin.read()
"""


def test_a_job_waits_for_the_first_gpu_of_a_cluster(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, RAY_AUTH_TOKEN="0123456789abcdef" * 4)
    log = tmp_path / "out/_job/logs/attempt-00000001.log"
    (tmp_path / "in.jsonl").write_text('{"custom_id": "a", "prompt": "number 1"}\n')

    with ray_nodes(GROWING, environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        terminal = Terminal(tmp_path, environment, ray=process.stdout.readline().strip())
        running = terminal.start(*RUN, "--engine-arg", "gpus=1")
        wait_until(lambda: log.exists() and "waiting: 1 replica(s)" in log.read_text(), "the job waits")
        process.stdin.write("\n")
        process.stdin.flush()
        _, told = running.communicate(timeout=200)

    assert running.returncode == 0, told
    assert "need 1 GPU(s) and 1 CPU(s); the cluster has 0 GPU(s) and 2 CPU(s)" in log.read_text()
    assert Output(tmp_path / "out").manifest()["engine"]["config"]["gpus"] == "0"  # the one that came
