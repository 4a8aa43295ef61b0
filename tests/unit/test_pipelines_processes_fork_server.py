"""Forks of one server: their environment, their main module, their signals, and forks of their own."""

import gc
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from attempts import check_gone
from processes import descendants
from terminal import ROOT

from pipelines.processes import fork_server
from pipelines.processes.fork_server import ForkedContext, collector_paused

GONE_WITHIN_S = 10.0


def write_what_it_sees(*, target: Path, variable: str) -> None:
    target.write_text(f"{os.environ.get(variable)} {os.getppid()}")


def write_signals_and_modules(*, target: Path) -> None:
    blocked = signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    target.write_text(f"{blocked} {sys.modules['__mp_main__'] is sys.modules['__main__']}")


def fork_another(*, target: Path) -> None:
    """From the same server, and wait for it."""
    context = ForkedContext()
    process = context.Process(target=write_what_it_sees, name="below", kwargs={"target": target, "variable": "PATH"})
    process.start()
    process.join()
    target.with_suffix(".server").write_text(str(os.getppid()))


def sleep_long(*, target: Path) -> None:
    target.write_text(str(os.getpid()))
    time.sleep(60)


def sleep_above_another(*, target: Path) -> None:
    ForkedContext().Process(target=sleep_long, name="below", kwargs={"target": target}).start()
    time.sleep(60)


@pytest.fixture(autouse=True)
def _server() -> None:
    fork_server.start([], {})


def test_a_fork_has_the_environment_of_its_start_and_not_of_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"

    for value in ("first", "second"):
        monkeypatch.setenv("BATCHCTL_TEST_VALUE", value)
        process = ForkedContext().Process(
            target=write_what_it_sees, name="engine", kwargs={"target": seen, "variable": "BATCHCTL_TEST_VALUE"}
        )
        process.start()
        process.join()

        assert process.exitcode == 0
        value_seen, parent = seen.read_text().split()
        assert value_seen == value
        assert int(parent) != os.getpid()  # the fork server
        assert process.pid in fork_server.forks()


def write_temporary_folder(*, target: Path) -> None:
    target.write_text(tempfile.gettempdir())


def test_a_forks_temporary_folder_is_that_of_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a module of the server has asked for it, as vLLM does when it is imported, Python keeps the answer."""
    seen, temporary = tmp_path / "seen", tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))

    process = ForkedContext().Process(target=write_temporary_folder, name="engine", kwargs={"target": seen})
    process.start()
    process.join()

    assert seen.read_text() == str(temporary)


def test_ctrl_c_reaches_no_fork_and_none_runs_the_main_module_again(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    process = ForkedContext().Process(target=write_signals_and_modules, name="engine", kwargs={"target": seen})
    process.start()
    process.join()

    assert seen.read_text() == "True True"
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_fork_has_forks_from_the_server_that_it_came_from(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    process = ForkedContext().Process(target=fork_another, name="host", kwargs={"target": seen})
    process.start()
    process.join()

    assert process.exitcode == 0
    _, parent = seen.read_text().rsplit(maxsplit=1)
    assert parent == seen.with_suffix(".server").read_text()


def test_a_fork_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    parent = ForkedContext().Process(target=sleep_above_another, name="host", kwargs={"target": seen})
    parent.start()
    give_up_at = time.monotonic() + GONE_WITHIN_S
    while not seen.exists() or not seen.read_text():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    (below,) = [process for process in descendants(os.getpid()) if process.pid == int(seen.read_text())]

    parent.kill()

    check_gone(lambda: [below] if below.is_alive else [], GONE_WITHIN_S)


STARTING = """
import os
from multiprocessing import forkserver
from pathlib import Path
from pipelines.processes import fork_server
fork_server.start([], {"BATCHCTL_TEST_VALUE": "the-servers"})
environ = Path(f"/proc/{forkserver._forkserver._forkserver_pid}/environ")
while "forkserver" not in environ.with_name("cmdline").read_text():  # it is another program from now on
    pass
print(os.environ.get("BATCHCTL_TEST_VALUE"), "BATCHCTL_TEST_VALUE=the-servers" in environ.read_text().split("\\0"))
"""


def test_what_the_servers_environment_has_more_its_starter_has_not() -> None:
    said = subprocess.run([sys.executable, "-c", STARTING], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["None", "True"]


def import_nothing() -> None:
    assert not gc.isenabled()
    raise ImportError


def test_the_collector_rests_for_an_import_and_works_again_after_one_that_failed() -> None:
    with pytest.raises(ImportError), collector_paused():
        import_nothing()

    assert gc.isenabled()


WAITER = """
import atexit, os, sys, time
from pathlib import Path
from pipelines.processes import fork_server
import late

fork_server.start([], {})
atexit.register(fork_server.await_ends, float(sys.argv[1]))
fork_server.fork(target=late.write, name="late", kwargs={"target": Path(sys.argv[2])}, environment=os.environ)
"""


@pytest.mark.parametrize(("within_s", "is_there"), [("10", True), ("0.1", False)])
def test_a_process_can_wait_for_what_its_forks_write_last(tmp_path: Path, within_s: str, is_there: bool) -> None:
    (tmp_path / "late.py").write_text("import time\ndef write(*, target):\n    time.sleep(1)\n    target.touch()\n")
    written = tmp_path / "written"
    path = os.pathsep.join([str(tmp_path), str(ROOT)])

    subprocess.run(
        [sys.executable, "-c", WAITER, within_s, str(written)], env=os.environ | {"PYTHONPATH": path}, check=True
    )

    assert written.exists() is is_there
