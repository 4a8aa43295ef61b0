"""What a killed writer leaves in a local store: nothing, but where the file system knows only files with names."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from connectors.stores.registry import open_store, torn_files

WRITING = """
import sys
from connectors.stores.registry import open_store
store, content = open_store(sys.argv[1]), b"x" * (4 << 20)
print("writing", flush=True)
for number in range(1000):
    store.create(f"parts/{number}", content)
    store.put("report", content)
"""
LONG_AGO = (1.6e9, 1.6e9)


def test_a_writer_that_is_killed_leaves_whole_objects_and_nothing_else(tmp_path: Path) -> None:
    for turn in range(8):
        root = tmp_path / str(turn)
        writer = subprocess.Popen([sys.executable, "-c", WRITING, str(root)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        while len(list(root.glob("parts/*"))) < turn + 1:
            assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.communicate()

    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_size for path in left} == {4 << 20}
    assert [path.name for path in left if path.name.startswith(".tmp-")] == []


@pytest.mark.parametrize("umask", [0o002, 0o027, 0o077])
def test_objects_and_folders_are_as_the_umask_has_them(tmp_path: Path, umask: int) -> None:
    store = open_store(str(tmp_path / "root"))
    before = os.umask(umask)
    try:
        store.create("folder/created", b"x")
        store.put("folder/put", b"x")
    finally:
        os.umask(before)

    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "root").rglob("*")}
    assert modes == {"folder": 0o777 & ~umask, "created": 0o666 & ~umask, "put": 0o666 & ~umask}


def test_half_written_files_are_nobodys_after_an_hour(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.create("folder/object", b"x")
    old, new = tmp_path / "folder" / ".tmp-0123456789abcdef", tmp_path / ".tmp-fedcba9876543210"
    for path in (old, new):
        path.touch()
    for path in (old, tmp_path / "folder" / "object"):
        os.utime(path, LONG_AGO)

    assert torn_files(str(tmp_path)) == [old]
    assert torn_files("memory://anything") == torn_files("s3://bucket/out") == []
