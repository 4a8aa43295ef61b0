import json
import os
import stat
import sys
import tempfile
from pathlib import Path

import pytest

from batch.errors import UsageError
from batch.machine.launcher import Launcher, check_python_path, log_path

STAND_IN = """
import json, os, sys
import batch
print(json.dumps({"argv": sys.argv[1:], "session": os.getsid(0), "batch": batch.__file__, "cwd": os.getcwd()}))
print("to stderr", file=sys.stderr)
sys.stdout.flush()
left = sys.stdin.read()
sys.exit(7)
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "stand_in_worker.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return "stand_in_worker"


def test_a_background_worker_has_its_own_session_and_no_input(module: str, tmp_path: Path) -> None:
    log = tmp_path / "deep" / "attempt.log"
    worker = Launcher(module).start("s3://b/out", foreground=False, replicas="1:4", ray_address="auto", log=log)
    assert worker.wait(20) == 7
    said, to_stderr = log.read_text().splitlines()
    assert json.loads(said)["argv"] == ["--job", "s3://b/out", "--replicas", "1:4", "--ray-address", "auto"]
    assert json.loads(said)["session"] == worker.pid
    assert to_stderr == "to stderr"


def test_a_foreground_worker_ends_when_its_input_does(module: str, tmp_path: Path) -> None:
    log = tmp_path / "attempt.log"
    worker = Launcher(module).start("s3://b/out", foreground=True, log=log)
    assert worker.stdin is not None
    with pytest.raises(TimeoutError):
        wait(worker.pid, 0.3)
    worker.stdin.close()
    assert worker.wait(20) == 7
    said = json.loads(log.read_text().splitlines()[0])
    assert said["argv"] == ["--job", "s3://b/out", "--foreground"]
    assert said["session"] == os.getsid(0)


def wait(pid: int, seconds: float) -> None:
    import time

    deadline_s = time.monotonic() + seconds
    while time.monotonic() < deadline_s:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            return
        time.sleep(0.05)
    raise TimeoutError


def test_a_folder_of_the_same_name_is_not_taken_for_the_program(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "__init__.py").write_text("raise SystemExit('the wrong batch')")
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "attempt.log"
    worker = Launcher(module).start("s3://b/out", foreground=False, log=log)
    assert worker.wait(20) == 7
    said = json.loads(log.read_text().splitlines()[0])
    assert said["cwd"] == str(tmp_path)
    assert said["batch"] == sys.modules["batch"].__file__


def test_attempts_append_to_their_log(module: str, tmp_path: Path) -> None:
    log = tmp_path / "attempt.log"
    for _ in range(2):
        Launcher(module).start("s3://b/out", foreground=False, log=log).wait(20)
    assert log.read_text().count("to stderr") == 2


def test_a_log_lies_under_a_local_output_else_with_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    local = log_path(str(tmp_path / "out"), job_id="j", attempt=3)
    assert local == tmp_path / "out" / "_job" / "logs" / "attempt-00000003.log"
    remote = log_path("s3://bucket/out", job_id="j", attempt=3)
    assert remote.is_relative_to(tmp_path / "state")
    assert remote.parts[-2:] == ("j", "attempt-00000003.log")


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_a_log_with_the_user_is_the_users_alone_and_one_in_the_output_is_as_the_umask_has_it(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, umask: int
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    private, shared = log_path("s3://bucket/out", job_id="j", attempt=1), tmp_path / "out" / "attempt.log"
    before = os.umask(umask)
    try:
        for log in (private, shared):
            Launcher(module).start("s3://b/out", foreground=False, log=log).wait(20)
    finally:
        os.umask(before)

    assert mode(private) == 0o600
    assert {mode(folder) for folder in private.parents if folder.is_relative_to(state) and folder != state} == {0o700}
    assert (mode(shared), mode(shared.parent)) == (0o666 & ~umask, 0o777 & ~umask)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_where_the_home_cannot_be_written_logs_lie_in_the_temporary_folder(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "home").write_text("no folder")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    log = log_path("s3://bucket/out", job_id="j", attempt=1)
    Launcher(module).start("s3://b/out", foreground=False, log=log).wait(20)

    top = tmp_path / f"batchctl-state-{os.getuid()}"
    assert log.is_relative_to(top)
    assert (mode(log), mode(log.parent), mode(top)) == (0o600, 0o700, 0o700)


def test_what_a_worker_starts_looks_for_no_modules_where_the_user_stands(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYTHONPATH, by which this very worker is found, still holds."""
    (tmp_path / "modules" / "stand_in_worker.py").write_text(
        "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', 'import batch']).returncode)"
    )
    (tmp_path / "batch.py").write_text("raise SystemExit('the wrong batch')")
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "attempt.log"
    worker = Launcher(module).start("s3://b/out", foreground=False, log=log)
    assert worker.wait(20) == 0, log.read_text()


@pytest.mark.parametrize("name", ["batch.py", "pipelines/__init__.py"])
def test_a_package_that_hides_ours_is_told_with_its_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "theirs" / name).parent.mkdir(parents=True)
    (tmp_path / "theirs" / name).write_text("")
    (tmp_path / "theirs" / "connectors").mkdir()  # without code: Python prefers a package

    with pytest.raises(UsageError, match=f"{tmp_path}/theirs/{name} hides batchctl's own package"):
        check_python_path([str(tmp_path), str(tmp_path / "theirs")], tmp_path / "ours")
    check_python_path([str(tmp_path), str(tmp_path / "theirs")], tmp_path / "theirs")
