"""`clean`: what crashed jobs have left is shown, and removed when asked to."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import CommandLine
from endings import end
from engines import planned_job, rows

OWNING = """
import sys
from pathlib import Path
from batch.machine import private_folder
print(private_folder.make("file:///data/out", [Path(sys.argv[1])]), flush=True)
input()
"""
LONG_AGO = (1.6e9, 1.6e9)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(tmp_path, monkeypatch, capsys)


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The user's temporary folder."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


def owner(place: Path) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNING, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_folders_of_dead_processes_are_shown_then_removed_and_those_of_living_ones_are_not(
    call: CommandLine, place: Path
) -> None:
    dead, folder = owner(place)
    living, kept = owner(place)
    dead.kill()
    dead.communicate()
    (folder / "ray").mkdir()
    (folder / "ray" / "log").write_bytes(b"x" * 2000)

    shown = call("clean")
    assert folder.exists()
    removed = call("clean", "--remove", "-o", "json")

    assert (shown.code, removed.code) == (0, 0)
    assert str(folder) in shown.out
    assert str(kept) not in shown.out
    assert "/data/out" in shown.out
    assert "`batchctl clean --remove`" in shown.out
    (found,) = [row for row in json.loads(removed.out) if row["path"] == str(folder)]
    assert found["removed"]
    assert found["size_bytes"] >= 2000
    assert not folder.exists()
    assert kept.exists()
    living.kill()
    living.communicate()


def test_half_written_files_of_a_job_and_locks_of_earlier_versions_go_too(
    call: CommandLine, place: Path, tmp_path: Path
) -> None:
    job = planned_job(rows(2), root=str(tmp_path / "out"))
    end(job, {})
    output = Path(job.uri.removeprefix("file://"))
    torn, fresh = output / "_job" / ".tmp-0123456789abcdef", output / ".tmp-fedcba9876543210"
    lock = place / "batchctl-job-1-1-0.lock"
    for path in (torn, fresh, lock):
        path.touch()
    os.utime(torn, LONG_AGO)
    before = {path for path in output.rglob("*") if path != torn}

    ended = call("clean", str(output), "--remove")

    assert (ended.code, ended.err) == (0, "")
    assert not torn.exists()
    assert not lock.exists()
    assert set(output.rglob("*")) == before  # with what is being written just now
    assert str(torn) not in call("clean", str(output)).out


def test_nothing_left_is_said_in_a_sentence(call: CommandLine, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = call("clean", "-o", "json")

    assert (ended.code, ended.err) == (0, "")
    assert [row for row in json.loads(ended.out) if row["path"].startswith(str(place))] == []


def test_a_job_that_does_not_exist_is_told(call: CommandLine, place: Path) -> None:
    ended = call("clean", "no/such/job", "--remove")

    assert ended.code == 2
    assert "no/such/job" in ended.err
