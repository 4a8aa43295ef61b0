"""A killed owner's processes end with it."""

import os
import signal
import subprocess
import sys
import time

OWNER = """
import subprocess, sys, time
from pipelines.guardian import Guardian
guardian = Guardian()
child = subprocess.Popen(["sleep", "60"], start_new_session=True)
guardian.look()
print(child.pid, flush=True)
time.sleep(60)
"""


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_children_of_a_killed_owner_are_killed() -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    child = int(owner.stdout.readline())
    assert is_alive(child)
    owner.send_signal(signal.SIGKILL)
    owner.wait(10)
    give_up_at = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert not is_alive(child)
