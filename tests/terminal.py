"""batchctl as a person types it: processes of its own, in a folder and an environment of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from batch.records.objects import Commit, EngineReport, decode_record

ROOT = Path(__file__).resolve().parents[1]
BATCHCTL = (sys.executable, "-m", "batch")

_CLUSTER = """
import sys, ray
sizes = dict(num_cpus=4, num_gpus=int(sys.argv[1]), object_store_memory=128 << 20)
ray.init(address="local", include_dashboard=False, log_to_driver=False, **sizes)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""


class Terminal:
    """A folder to stand in. `ray` is the address of a cluster that `run` is told to use; empty: each its own.

    `around`: words before each command, of a program that runs it.
    """

    def __init__(
        self, folder: Path, environment: Mapping[str, str], *, ray: str = "", around: Sequence[str] = ()
    ) -> None:
        self.folder = folder
        self.ray = ray
        self._environment = dict(environment)
        self._around = tuple(around)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Type a command and wait for its end."""
        return subprocess.run(
            self._command(words),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Type a command and leave it running."""
        return subprocess.Popen(
            self._command(words),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def _command(self, words: tuple[str, ...]) -> list[str]:
        address = ["--ray-address", self.ray] if self.ray and words[0] == "run" else []
        return [*self._around, *BATCHCTL, *words, *address]


def clean_environment(home: Path, **more: str) -> dict[str, str]:
    """Ours without what a person may have set for batchctl; its own home, with Ray's key to its clusters."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BATCHCTL_", "XDG_"))}
    own = {"HOME": str(home), "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0"}
    return kept | own | more


def start_script(script: str, environment: Mapping[str, str], *arguments: str) -> subprocess.Popen[str]:
    """Python that runs `script`: what it prints is to be read, and its input ends when it is to end."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@contextmanager
def cluster(environment: Mapping[str, str], *, gpus: int = 0) -> Iterator[str]:
    """A Ray cluster of this machine that several jobs may use, one after the other; yields its address.

    `gpus`: those that it is told of; none need be there.
    """
    process = start_script(_CLUSTER, environment, str(gpus))
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address, "the Ray cluster did not start"
        yield address
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()


class Output:
    """The objects of a job in a local folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def rows(self, kind: str) -> list[dict[str, Any]]:
        """The lines of results or errors, in the order of the ledger's parts."""
        parts = [self.folder / part["key"] for part in self.manifest()[kind]]
        return [orjson.loads(line) for part in parts for line in part.read_bytes().splitlines()]

    def manifest(self) -> dict[str, Any]:
        """The ledger."""
        ledger: dict[str, Any] = orjson.loads((self.folder / "manifest.json").read_bytes())
        return ledger

    def commits(self) -> dict[str, bytes]:
        """The commit records as they stand, by file name."""
        return {path.name: path.read_bytes() for path in sorted(self.folder.glob("_job/commits/*.json"))}

    def commit_records(self) -> list[Commit]:
        return [decode_record(Commit, content, key=name) for name, content in self.commits().items()]

    def reports(self) -> list[EngineReport]:
        """What the engines of all attempts last said of themselves."""
        paths = sorted(self.folder.glob("_job/engines/*/*.json"))
        return [decode_record(EngineReport, path.read_bytes(), key=path.name) for path in paths]

    def attempts(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("_job/epochs/????????.json"))


def wait_until(condition: Callable[[], object], what: str, timeout_s: float = 120.0) -> None:
    """Look five times a second."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.2)
