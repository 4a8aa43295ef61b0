"""Folders of one process: whom they let in, how long they are, and who may remove them."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from batch.errors import UsageError
from batch.machine import private_folder
from batch.machine.private_folder import (
    LONGEST_BELOW,
    OWNER,
    Abandoned,
    find_abandoned,
    longest_place_bytes,
    make,
    places,
)

OWNING = """
import sys
from pathlib import Path
from batch.machine import private_folder
print(private_folder.make("file:///out", [Path(sys.argv[1])]), flush=True)
input()
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A short one."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as folder:
        yield Path(folder)


@contextmanager
def owner(place: Path) -> Iterator[Path]:
    """The folder of another process, which is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", OWNING, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_nobody_else_can_look_into_one_whatever_the_umask(place: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = make("file:///out", [place])
        private_folder.write_secret(folder / "token", "secret")
        private_folder.make_below(place / "top", place / "top" / "a" / "b")
    finally:
        os.umask(before)

    assert mode(folder) == mode(place / "top") == mode(place / "top" / "a" / "b") == 0o700
    assert mode(folder / OWNER) == mode(folder / "token") == 0o600


def test_the_longest_socket_below_the_longest_place_can_be_bound() -> None:
    place = Path("/tmp", "x" * (longest_place_bytes() - len("/tmp/")))
    place.mkdir()
    try:
        folder = make("file:///out", [place])
        path = folder / LONGEST_BELOW
        path.parent.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(path))
        private_folder.remove(folder)
    finally:
        place.rmdir()


def test_a_long_temporary_folder_is_left_out_for_a_short_one(place: Path, tmp_path: Path) -> None:
    long = tmp_path / ("d" * 40)

    assert places({"TMPDIR": str(long)})[0] == long
    assert make("file:///out", [long, place]).parent == place
    assert not long.exists()


def test_where_no_place_will_do_the_message_has_each_and_the_limit(tmp_path: Path) -> None:
    blocked = Path("/proc")

    with pytest.raises(UsageError) as refused:
        make("file:///out", [tmp_path / ("d" * 40), blocked])

    assert refused.value.exit_code == 2
    told = str(refused.value)
    assert told.startswith(f"TMPDIR={tmp_path}/dddd")
    assert "is too long; /proc: " in told
    assert f"at most {longest_place_bytes()} bytes" in told
    assert longest_place_bytes() >= len("/run/user/65534")


def test_one_is_abandoned_when_its_owner_is_gone_and_not_before(place: Path) -> None:
    with owner(place) as folder:
        (folder / "ray" / "sockets").mkdir(parents=True)
        (folder / "ray" / "log").write_bytes(b"x" * 1000)
        assert list(find_abandoned([place])) == []
    (found,) = find_abandoned([place])

    assert found == Abandoned(folder, "file:///out", found.size_bytes)
    assert found.size_bytes >= 1000
    private_folder.remove(found.path)
    assert list(place.iterdir()) == []


def test_what_is_not_certainly_ours_is_left_alone(place: Path) -> None:
    with owner(place) as folder:
        pass
    elsewhere = folder.rename(place / "not-of-that-name")
    (place / "batchctl-linked").symlink_to(elsewhere)
    (place / "batchctl-results").mkdir()
    (place / "batchctl-results" / "answers.jsonl").write_text("{}")
    (place / "batchctl-owned").mkdir()
    (place / "batchctl-owned" / OWNER).write_text('{"made_by": "somebody"}')
    (place / "batchctl-file").write_text("")

    assert list(find_abandoned([place, Path("/nowhere")])) == []


def test_links_inside_are_removed_and_not_followed(place: Path) -> None:
    kept = place / "kept"
    kept.mkdir()
    (kept / "file").write_text("kept")
    with owner(place) as folder:
        (folder / "link").symlink_to(kept)

    for found in find_abandoned([place]):
        private_folder.remove(found.path)

    assert [path.name for path in place.iterdir()] == ["kept"]
    assert (kept / "file").read_text() == "kept"


def test_a_folder_that_somebody_else_put_there_is_not_used(place: Path) -> None:
    (place / "theirs").mkdir()
    (place / "top").symlink_to(place / "theirs")

    with pytest.raises(PermissionError, match="no folder of this user"):
        private_folder.make_below(place / "top", place / "top" / "logs")

    assert list((place / "theirs").iterdir()) == []
