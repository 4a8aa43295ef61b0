"""kill -9 of what holds a Ray node: the raylet of a job's own cluster, and one of two nodes that a job runs on."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from answer_server import AnswerServer
from attempts import Attempts, output_lines
from chaos.conftest import Watch
from processes import descendants
from ray_nodes import ray_nodes
from terminal import Terminal, clean_environment, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

ROWS = 6000
ROWS_OF_TWO = 20_000  # more shards than an engine asks for at once: the second gets some, however late it is up
REFILLED_WITHIN_S = 90.0
WINDOW = 16

# A head with room for an engine and a spare, and a node with room for one; tells the address and the node's raylet.
_CLUSTER = """
import sys
from ray.cluster_utils import Cluster
node = dict(object_store_memory=128 << 20, include_dashboard=False)
cluster = Cluster(initialize_head=True, head_node_args=node | dict(num_cpus=2))
added = cluster.add_node(num_cpus=1, object_store_memory=128 << 20)
print(cluster.address, added.all_processes["raylet"][0].process.pid, flush=True)
sys.stdin.read()
"""


@contextmanager
def two_nodes(environment: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """A cluster's address, and the pid of the second node's raylet."""
    with ray_nodes(_CLUSTER, environment) as process:
        assert process.stdout is not None
        address, raylet = process.stdout.readline().split()
        yield address, int(raylet)


def job(folder: Path, server: AnswerServer, *words: str, count: int = ROWS) -> tuple[str, ...]:
    rows = (orjson.dumps({"custom_id": f"row-{n:05d}", "prompt": f"number {n}"}) for n in range(count))
    (folder / "in.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    engine = ("--engine", "openai", "--engine-arg", f"base_url={server.base_url}")
    window = ("--engine-arg", f"concurrency={WINDOW}", "--journal-every", "1s")
    return ("run", "in.jsonl", "--model", "m", *engine, *window, *words, "--output", "out")


def test_a_node_that_dies_costs_no_row(tmp_path: Path, watch: Watch) -> None:
    # The key that a cluster of several nodes asks for; a job's own cluster makes its own.
    environment = clean_environment(tmp_path, RAY_AUTH_TOKEN="0123456789abcdef" * 4)
    with AnswerServer(delay_s=0.3) as server, two_nodes(environment) as (address, raylet):
        terminal = Terminal(tmp_path, environment, ray=address)
        words = job(tmp_path, server, "--replicas", "2", count=ROWS_OF_TWO)
        attempts = watch(Attempts(terminal, words, str(tmp_path / "out")))
        attempts.begin()
        wait_until(lambda: len(attempts.busy_engines()) == 2, "two engines with rows in hand")
        lost = descendants(raylet)
        assert [process for process in lost if process.command.startswith("ray::MapWorker")]
        lost_at_s = time.monotonic()
        for process in lost:  # the raylet first
            process.kill()

        wait_until(lambda: len(attempts.busy_engines()) == 3, "another engine with rows in hand", REFILLED_WITHIN_S)
        print(f"another engine had the lost one's rows in hand after {time.monotonic() - lost_at_s:.0f} s")
        server.delay_s = 0.0
        code, said = attempts.end()
    assert code == 0, said
    check_rows(attempts, ROWS_OF_TWO, attempts_made=1)
    attempts.check_nothing_is_left()


def test_a_raylet_that_dies_ends_its_attempt_and_the_same_command_goes_on(tmp_path: Path, watch: Watch) -> None:
    # One answer is withheld, so that the job cannot end before its loss is noticed: Ray takes 15 s and more for that.
    with AnswerServer(delay_s=0.05, holds=f"number {ROWS - 1}".__eq__) as server:
        terminal = Terminal(tmp_path, clean_environment(tmp_path))
        attempts = watch(Attempts(terminal, job(tmp_path, server), str(tmp_path / "out")))
        attempts.begin()
        wait_until(attempts.has_asking_actor, "an engine of Ray's")  # a raylet that dies before is started again
        wait_until(attempts.commits, "the first commit")
        killed_at_s = time.monotonic()
        attempts.raylet()[0].kill()
        code, said = attempts.end()
        print(f"the command ended {time.monotonic() - killed_at_s:.0f} s after its raylet: {said.splitlines()[-1]}")
        assert code == 1
        assert "the same command resumes it" in said
        attempts.check_nothing_is_left()

        server.release()
        server.delay_s = 0.0
        attempts.begin()
        code, said = attempts.end()
    assert code == 0, said
    check_rows(attempts, ROWS, attempts_made=2)
    attempts.check_nothing_is_left()


def check_rows(attempts: Attempts, count: int, *, attempts_made: int) -> None:
    """Each row once, in order, with its own answer; no part but the ledger's."""
    parts = attempts.objects("results/")
    rows = [orjson.loads(line) for line in output_lines(parts).splitlines()]
    assert [row["custom_id"] for row in rows] == [f"row-{n:05d}" for n in range(count)]
    assert [row["response"]["body"]["choices"][0]["text"] for row in rows] == [f"number {n}" for n in range(count)]
    manifest = orjson.loads(attempts.store.get("manifest.json"))
    assert (manifest["state"], manifest["succeeded"], manifest["attempts"]) == ("COMPLETED", count, attempts_made)
    assert {part["key"] for part in manifest["results"]} == set(parts)
