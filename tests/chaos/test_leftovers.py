"""What a job leaves on its machine, however it ends: in the temporary folder, in shared memory, in its output.

`BATCHCTL_TESTS=long` makes it twenty jobs, of which every second one runs vLLM.
"""

import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest
from attempts import check_gone
from long_run import LONG
from processes import Process, descendants
from terminal import ROOT, Output, Terminal, clean_environment, wait_until

from pipelines.engine_process.service import TITLE

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(3600 if LONG else 400)]

MODEL = str(ROOT / "pipelines/models/arithmetic")
ROWS, FEW = 20_000, 200
GONE_WITHIN_S = 20.0
ECHO = ("--model", "m", "--engine", "echo", "--engine-arg", "delay_s=5")
VLLM = ("--model", MODEL, "--max-tokens", "8")
ENDS = {
    "nobody": 0,
    "worker": 1,
    "raylet": 1,
    "gcs_server": 1,
    "interrupt": 130,
    "command": -signal.SIGKILL,
    "everyone at the start": -signal.SIGKILL,
}
"""Whom a signal ends, and the command's exit code then."""
SERIES = [(end, engine) for end in ENDS for engine in ("echo", "vllm")] + [("nobody", "vllm"), ("worker", "vllm")] * 3
SHORT = [("nobody", "echo"), ("raylet", "echo"), ("worker", "echo")]


@dataclass
class Machine:
    """Where the jobs run: a folder, and a short temporary one."""

    folder: Path
    temporary: Path
    family: dict[tuple[int, str], Process]

    def look(self, pid: int) -> list[Process]:
        found = descendants(pid)
        self.family |= {(process.pid, process.started): process for process in found}
        return found

    def living(self) -> list[Process]:
        return [process for process in self.family.values() if process.is_alive]

    def left(self) -> list[str]:
        """What jobs have left; caches of libraries are meant to stay."""
        temporary = [str(path) for path in self.temporary.iterdir() if not path.name.startswith("torchinductor_")]
        torn = [str(path) for path in self.folder.glob("out*/**/.tmp-*")]
        pids = {pid for pid, _ in self.family}
        shared = [
            path.name
            for path in Path("/dev/shm").iterdir()
            if path.name.startswith("__KMP_REGISTERED_LIB_") and int(path.name.split("_")[-2]) in pids
        ]
        return temporary + torn + shared


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="t") as temporary:
        found = Machine(tmp_path, Path(temporary), {})
        yield found
        for process in found.living():
            process.kill()


@pytest.mark.parametrize("series", [pytest.param(SERIES if LONG else SHORT, id="jobs")])
def test_jobs_leave_nothing_however_they_end(machine: Machine, series: list[tuple[str, str]]) -> None:
    """Not even when the command that started them was killed with them: the next job finds what that has left."""
    for number, (end, engine) in enumerate(series):
        said = run_until(machine, number, end, engine)
        if end == "raylet":
            assert "Ray's raylet died of SIGKILL" in said
        check_gone(machine.living, GONE_WITHIN_S)
    if LONG:
        run_until(machine, len(series), "nobody", "echo")

    wait_until(lambda: not machine.left(), f"nothing is left: {machine.left()}", GONE_WITHIN_S)
    print("\n".join(["left in the temporary folder, shared memory and outputs:", *machine.left(), "(end)"]))
    print(*sorted(str(path.relative_to(machine.folder)) for path in machine.folder.glob("out*/_job/*")), sep="\n")


def run_until(machine: Machine, number: int, end: str, engine: str) -> str:
    """Run a job until it ends or somebody is killed; what its command said."""
    name, output = f"in{number}.jsonl", Output(machine.folder / f"out{number}")
    rows = ({"custom_id": str(n), "prompt": f"{n}+{number}", "temperature": 1} for n in range(count(end)))
    (machine.folder / name).write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    environment = clean_environment(machine.folder, TMPDIR=str(machine.temporary))
    words = ("run", name, *(VLLM if engine == "vllm" else ECHO), "--output", f"out{number}")
    command = Terminal(machine.folder, environment).start(*words)

    def begun() -> bool:
        found = machine.look(command.pid)
        if end == "everyone at the start":
            return any("forkserver" in process.command for process in found)
        return command.poll() is not None or any(process.command == TITLE for process in found)

    wait_until(begun, f"job {number} has begun")
    if end == "interrupt":
        command.send_signal(signal.SIGINT)
    for process in victims(machine.look(command.pid), end, command.pid):
        process.kill()
    while command.poll() is None:
        machine.look(command.pid)
    said = "".join(command.communicate())
    assert command.returncode == ENDS[end], said
    assert end != "nobody" or output.manifest()["succeeded"] == FEW
    return said


def count(end: str) -> int:
    return FEW if end == "nobody" else ROWS


def victims(family: list[Process], end: str, command: int) -> list[Process]:
    match end:
        case "worker":
            return [
                process for process in family if "pipelines.worker" in process.command and process.parent == command
            ]
        case "command":
            return [process for process in family if process.pid == command]
        case "raylet" | "gcs_server":
            return [process for process in family if process.command.split(" ")[0].endswith(f"/{end}")]
        case "everyone at the start":
            return family
        case _:
            return []
