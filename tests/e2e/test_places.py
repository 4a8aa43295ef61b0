"""Jobs started in odd places: long temporary folders, folders named like our packages, homes that cannot be written.

Each has a Ray of its own; the two jobs are looked at while they run and afterwards.
"""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from attempts import check_gone
from processes import Process, descendants
from terminal import Output, Terminal, clean_environment, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(400)]

ROWS = 3000
ECHO = ("--model", "m", "--engine", "echo", "--output", "out")
SLOW, FAST = ("--engine-arg", "delay_s=1"), ()
GONE_WITHIN_S = 20.0
RAY = ("/raylet", "/gcs_server", "ray::")


@pytest.fixture
def place() -> Iterator[Path]:
    """A temporary folder with a short path."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        yield Path(folder)


def write_rows(folder: Path) -> None:
    rows = (orjson.dumps({"custom_id": f"row-{n}", "prompt": f"number {n}"}) for n in range(ROWS))
    (folder / "in.jsonl").write_bytes(b"\n".join(rows) + b"\n")


def environment(home: Path, **more: str) -> dict[str, str]:
    """Without what the test's own shell says of Ray's token."""
    found = clean_environment(home, **more)
    return {name: value for name, value in found.items() if not name.startswith(("RAY_AUTH", "RAY_ENABLE"))}


def running(command: subprocess.Popen[str], output: Output) -> list[Process]:
    """The family of a command whose job has an actor and a commit."""

    def family() -> list[Process]:
        assert command.poll() is None, command.communicate()
        found = descendants(command.pid)
        return found if any(process.command.startswith("ray::MapWorker") for process in found) else []

    wait_until(lambda: family() and output.commits(), "an actor, and a shard is committed")
    return family()


def listening(processes: list[Process]) -> set[str]:
    """The addresses, in hexadecimal, at which Ray's processes among them listen."""
    rays = [process for process in processes if any(name in process.command.split(" ")[0] for name in RAY)]
    sockets = set()
    for process in rays:
        for descriptor in Path(f"/proc/{process.pid}/fd").glob("*"):
            try:
                sockets.add(str(descriptor.readlink()))
            except FileNotFoundError:
                continue
    tables = [Path(f"/proc/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    entries = [line.split() for table in tables for line in table]
    return {entry[1].partition(":")[0] for entry in entries if entry[3] == "0A" and f"socket:[{entry[9]}]" in sockets}


def test_a_job_with_a_long_temporary_folder_and_no_home_runs_alone_and_leaves_nothing(
    tmp_path: Path, place: Path
) -> None:
    """`TMPDIR` has 80 characters, the home is a file; Ray is this machine's and this user's alone."""
    write_rows(tmp_path)
    home, long = tmp_path / "home", place / ("d" * 70)
    home.write_text("no folder")
    long.mkdir()
    output = Output(tmp_path / "out")
    before = set(Path("/tmp").glob("batchctl-*"))

    command = Terminal(tmp_path, environment(home, TMPDIR=str(long))).start("run", "in.jsonl", *ECHO, *SLOW)
    family = running(command, output)
    addresses = listening(family)
    folders = set(Path("/tmp").glob("batchctl-*")) - before
    tokens = [path for folder in folders for path in folder.glob("ray_token")]
    modes = (
        {stat.S_IMODE(path.stat().st_mode) for path in tokens},
        {stat.S_IMODE(path.parent.stat().st_mode) for path in tokens},
    )
    _, said = command.communicate(timeout=120)

    assert command.returncode == 0, said
    assert modes == ({0o600}, {0o700})
    assert len(addresses) >= 1
    assert addresses <= {"0100007F", "0000000000000000FFFF00000100007F"}  # 127.0.0.1, as IPv4 and within IPv6
    check_gone(lambda: [process for process in family if process.is_alive], GONE_WITHIN_S)
    wait_until(lambda: not any(token.exists() for token in tokens), "the private folder goes", GONE_WITHIN_S)
    assert [path.name for path in long.iterdir()] == []


@pytest.mark.parametrize("umask", [0o027])
def test_a_job_among_folders_named_like_our_packages_finds_its_own_and_writes_as_the_umask_has_it(
    tmp_path: Path, place: Path, umask: int
) -> None:
    write_rows(tmp_path)
    (tmp_path / "batch.py").write_text("raise SystemExit('the wrong batch')")
    for name in ("pipelines", "connectors", "batch"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('the wrong {name}')")
    # The console script is safe from what lies in this folder; `python -m`, which stands in for it, is told to be.
    own = environment(tmp_path / "home", TMPDIR=str(place), PYTHONSAFEPATH="1")
    before = os.umask(umask)
    try:
        ended = Terminal(tmp_path, own).run("run", "in.jsonl", *ECHO, *FAST)
    finally:
        os.umask(before)

    assert ended.returncode == 0, ended.stderr
    output = list((tmp_path / "out").rglob("*"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in output if path.is_file()} == {0o666 & ~umask}
    assert {stat.S_IMODE(path.stat().st_mode) for path in output if path.is_dir()} == {0o777 & ~umask}
