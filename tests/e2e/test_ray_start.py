"""Ray's start on a machine where it takes too long: tried again, and told what took so long."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from attempts import check_gone
from processes import descendants
from terminal import ROOT, Output, Terminal, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

# Python runs it in every process: the runtime environment agent of Ray, without which no node starts, hangs. `once`
# is a file, and the agent that makes it is the only one that hangs.
HANGING = """
import os, sys, time
if any("runtime_env/agent/main.py" in word for word in sys.orig_argv):
    try:
        os.close(os.open(os.environ["BATCHCTL_TEST_ONCE"], os.O_CREAT | os.O_EXCL))
    except KeyError:
        time.sleep(60)
    except FileExistsError:
        pass
    else:
        time.sleep(60)
"""
STARTING = """
import os, sys
from pipelines.cluster import own_cluster
reaper = own_cluster.settle("file:///out")
from pipelines.cluster import ray_start
from pipelines.processes import job_log
job_log.begin()
try:
    ray_start.start(1, on_death=print, limits_s=[float(limit) for limit in sys.argv[1:]])
except Exception as error:
    sys.exit(f"{type(error).__name__}: {error}")
import ray
reaper.look()
print("nodes", len([node for node in ray.nodes() if node["Alive"]]), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    (tmp_path / "sitecustomize.py").write_text(HANGING)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as temporary:
        yield kept | {"PYTHONPATH": f"{tmp_path}:{ROOT}", "TMPDIR": temporary}


@contextmanager
def starting(environment: dict[str, str], *limits: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", STARTING, *limits],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_start_that_takes_too_long_is_tried_again_and_nothing_of_it_stays(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with starting(environment | {"BATCHCTL_TEST_ONCE": str(tmp_path / "once")}, "10", "100") as process:
        assert process.stdout is not None
        said = ""
        while "nodes" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        family = descendants(process.pid)

    assert "nodes 1" in said
    assert re.search("try 1 of 2: after 10 s .*the runtime environment agent had not come up", said)
    assert len([found for found in family if found.command.split(" ")[0].endswith("/raylet")]) == 1
    check_gone(lambda: [found for found in family if found.is_alive], 20)


def test_a_cancel_waits_for_no_start_and_keeps_what_the_engine_beside_it_has_answered(
    environment: dict[str, str], tmp_path: Path
) -> None:
    rows = (orjson.dumps({"custom_id": f"row-{n}", "prompt": f"number {n}"}) for n in range(600))
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    terminal, output = Terminal(tmp_path, environment), Output(tmp_path / "out")
    running = terminal.start(
        "run", "in.jsonl", "--model", "m", "--engine", "echo", "--output", "out", "--engine-arg", "delay_s=5"
    )
    wait_until(lambda: any(tally.rows for report in output.reports() for tally in report.open.values()), "answers")

    cancelled = terminal.run("cancel", "out")
    _, said = running.communicate(timeout=120)

    assert cancelled.returncode == 0, cancelled.stderr
    assert running.returncode == 3, said
    manifest = output.manifest()
    assert manifest["state"] == "CANCELLED"
    assert manifest["succeeded"] >= 256
    assert manifest["succeeded"] + manifest["failed_by_code"]["cancelled"] == 600


def test_after_the_last_try_what_took_so_long_is_told_with_the_machines_load(environment: dict[str, str]) -> None:
    with starting(environment, "6") as process:
        said, _ = process.communicate(timeout=300)

    assert process.returncode == 1
    last = said.strip().splitlines()[-1]
    assert last.startswith("ResourcesUnavailable: Ray did not start on this machine in 1 tries: after 6 s ")
    assert "the runtime environment agent had not come up (load " in last
