"""A killed owner's processes end with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

OWNER = """
import subprocess, sys, time
from pipelines.guardian import Guardian
guardian = Guardian()
child = subprocess.Popen(
    ["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True, start_new_session=True
)
grandchild = child.stdout.readline().strip()
guardian.look()
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
