"""A killed owner's processes end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from attempts import check_gone
from processes import descendants
from terminal import ROOT, wait_until

OWNER = """
import subprocess, sys, time
from pipelines.processes.reaper import Reaper
reaper = Reaper()
child = subprocess.Popen(
    ["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True, start_new_session=True
)
grandchild = child.stdout.readline().strip()
reaper.look()
print(child.pid, grandchild, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_all_below_a_killed_owner_are_killed_though_ray_kills_its_children_first() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child, grandchild = map(int, owner.stdout.readline().split())
    assert is_alive(child)
    assert is_alive(grandchild)

    children = Path(f"/proc/{owner.pid}/task/{owner.pid}/children").read_text().split()
    for pid in [*map(int, children), owner.pid]:  # as Ray does with a worker that ends
        os.kill(pid, signal.SIGKILL)
    owner.wait(10)

    give_up_at = time.monotonic() + 10
    while (is_alive(child) or is_alive(grandchild)) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert not is_alive(child)
    assert not is_alive(grandchild)


FINISHER = """
import os, subprocess, sys, time
from pipelines.processes.reaper import FINISHES, Reaper

reaper = Reaper()
child = subprocess.Popen([f"{FINISHES} ahead", "-c", sys.argv[1]], executable="/bin/sh", stdin=subprocess.PIPE)
reaper.look()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize(("last", "is_written"), [("sleep 1; touch last", True), ("sleep 60; touch last", False)])
def test_one_that_ends_by_itself_may_write_its_last_but_not_live_on(
    tmp_path: Path, last: str, is_written: bool
) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", FINISHER, f"read end; {last}"]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())

    owner.kill()
    owner.wait(10)

    wait_until(lambda: not is_alive(child), "it is gone", 10)
    assert (tmp_path / "last").exists() is is_written


SETTLED = """
import os, sys, tempfile, time
from pathlib import Path
from pipelines.processes import fork_server, temporary_folder
reaper = temporary_folder.settle("file:///out")
fork_server.start(["slow_to_import"], {})
reaper.look()
shm = Path(f"/dev/shm/__KMP_REGISTERED_LIB_{os.getpid()}_{os.getuid()}")
shm.touch()
print(tempfile.gettempdir(), shm, flush=True)
time.sleep(60)
"""


def test_a_killed_owners_folder_and_its_importing_fork_server_go_with_it(tmp_path: Path) -> None:
    """The server looks for its owner's end only when it has imported: with vLLM on a busy machine after 45 s."""
    (tmp_path / "slow_to_import.py").write_text("import time; time.sleep(60)")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    owner = subprocess.Popen(
        [sys.executable, "-c", SETTLED],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
    )
    assert owner.stdout is not None
    folder, shm = map(Path, owner.stdout.readline().split())
    family = [process for process in descendants(owner.pid) if process.pid != owner.pid]
    assert any("forkserver" in process.command for process in family)
    assert folder.is_dir()

    owner.kill()
    owner.wait(10)

    check_gone(lambda: [process for process in family if process.is_alive], 10)
    wait_until(lambda: not folder.exists(), "the folder is removed", 10)
    assert not shm.exists()
