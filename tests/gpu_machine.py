"""A machine with NVIDIA GPUs that are not there.

Their device nodes are empty files in a private mount namespace, and the driver's libraries are stubs that are compiled
here: nothing of it is seen outside the process that is started so.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

NVML_SOURCE = Path(__file__).with_name("nvml_stub.c")

_WITH_NODES = """
new=$(mktemp -d)
mount -t tmpfs -o mode=755 tmpfs "$new"
for node in null zero full random urandom tty; do : > "$new/$node"; mount --bind "/dev/$node" "$new/$node"; done
for folder in shm pts; do mkdir "$new/$folder"; mount --rbind "/dev/$folder" "$new/$folder"; done
ln -s /proc/self/fd "$new/fd"; ln -s fd/0 "$new/stdin"; ln -s fd/1 "$new/stdout"; ln -s fd/2 "$new/stderr"
ln -s pts/ptmx "$new/ptmx"
number=0; while [ "$number" -lt "$0" ]; do : > "$new/nvidia$number"; number=$((number + 1)); done
mount --move "$new" /dev
rmdir "$new"
exec "$@"
"""


def within(gpus: int, command: Sequence[str] = ()) -> list[str]:
    """The command, in a namespace of its own where /dev has the nodes of so many GPUs."""
    private = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    return [*private, "sh", "-euc", _WITH_NODES, str(gpus), *command]


def lacking() -> str:
    """What this machine lacks for it, in words; empty when it lacks nothing."""
    tools = [tool for tool in ("gcc", "unshare", "mount") if shutil.which(tool) is None]
    if tools:
        return f"no {', no '.join(tools)} on this machine"
    tried = subprocess.run(within(1, ["test", "-e", "/dev/nvidia0"]), capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no private mount namespace for this user: {tried.stderr.strip()}"


def driver(folder: Path, gpus: int) -> Mapping[str, str]:
    """Compile the management library of so many H100s into the folder; the environment of who is to find it there."""
    compile_library(NVML_SOURCE, folder / "libnvidia-ml.so.1")
    return {"LD_LIBRARY_PATH": str(folder), "STUB_GPUS": str(gpus)}


def compile_library(source: Path, library: Path) -> None:
    library.parent.mkdir(exist_ok=True)
    shared = ["gcc", "-w", "-shared", "-fPIC", f"-Wl,-soname,{library.name}"]
    subprocess.run([*shared, "-o", str(library), str(source)], check=True)
