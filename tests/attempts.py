"""The attempts at one job, one after the other as a person would give the same command again, and their processes."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from processes import Process, descendants
from terminal import Terminal

from batch import layout
from batch.records.objects import EngineReport, decode_record
from connectors.stores.registry import open_store
from connectors.stores.store import Store
from pipelines.engine_process.service import TITLE

HELD = 5
RESTART_WITHIN_S = 180.0
GONE_WITHIN_S = 30.0
RAY_AGENTS = re.compile(r"^ray::(DashboardAgent|RuntimeEnvAgent)|/(dashboard/agent|runtime_env/agent/main)\.py ")
"""The paths are those of agents that had no other name yet when their node was killed."""
AGENTS_GONE_WITHIN_S = 90.0


class Attempts:
    """`words`: the command, whose output is at `uri`. Every process that the attempts ever had is remembered."""

    def __init__(self, terminal: Terminal, words: tuple[str, ...], uri: str) -> None:
        self.store: Store = open_store(uri)
        self.running: subprocess.Popen[str] | None = None
        self._terminal = terminal
        self._words = words
        self._seen: dict[tuple[int, str], Process] = {}
        self._commits: dict[str, bytes] = {}

    def begin(self) -> subprocess.Popen[str]:
        """Give the command, again while the attempt before is still on its way out; return once it has the job."""
        if self.running is not None and self.running.poll() is None:
            return self.running
        if self.running is not None:
            self.end()
        number = len(self.numbers()) + 1
        give_up_at = time.monotonic() + RESTART_WITHIN_S
        while True:
            self.running = running = self._terminal.start(*self._words)
            while running.poll() is None and len(self.numbers()) < number:
                time.sleep(0.1)
            if running.poll() is None:
                return running
            _, said = running.communicate()
            assert running.returncode == HELD, said
            assert time.monotonic() < give_up_at, said
            time.sleep(0.5)

    def end(self, timeout_s: float = 240.0) -> tuple[int, str]:
        """Wait for the command; the exit code and what it said."""
        assert self.running is not None
        self.family()
        out, err = self.running.communicate(timeout=timeout_s)
        code, self.running = self.running.returncode, None
        self.check_commits()
        return code, out + err

    def family(self) -> list[Process]:
        """The living processes of the running command."""
        found = descendants(self.running.pid) if self.running is not None else []
        self._seen |= {(process.pid, process.started): process for process in found}
        return found

    def worker(self) -> list[Process]:
        command = self.running.pid if self.running is not None else 0
        return [p for p in self.family() if p.parent == command and "pipelines.worker" in p.command]

    def engines(self) -> list[Process]:
        """The actors and their hosts."""
        return [*self.actors(), *self.hosts()]

    def actors(self) -> list[Process]:
        return [process for process in self.family() if process.command.startswith("ray::MapWorker")]

    def hosts(self) -> list[Process]:
        return [process for process in self.family() if process.command.startswith(TITLE)]

    def has_asking_actor(self) -> bool:
        """Whether an actor has a host. One that is killed before has none: its successor gets the prestarted host."""
        return any(host.command == TITLE for host in self.hosts())

    def command(self) -> list[Process]:
        return [process for process in self.family() if self.running is not None and process.pid == self.running.pid]

    def raylet(self) -> list[Process]:
        return [process for process in self.family() if process.command.split(" ")[0].endswith("/raylet")]

    def busy_engines(self) -> list[EngineReport]:
        """What the engines with rows in hand say, each its latest word."""
        keys = [found.key for found in self.store.list("_job/engines/")]
        reports = [decode_record(EngineReport, self.store.get(key), key=key) for key in keys]
        return [report for report in reports if report.open]

    def numbers(self) -> list[str]:
        """The attempts so far."""
        names = (Path(found.key).name for found in self.store.list("_job/epochs/"))
        return [name.removesuffix(".json") for name in names if name.count(".") == 1]

    def commits(self) -> dict[str, bytes]:
        return self.objects(layout.COMMIT_PREFIX)

    def objects(self, *prefixes: str) -> dict[str, bytes]:
        """Every object below the prefixes, and what stands there."""
        keys = [found.key for prefix in prefixes for found in self.store.list(prefix)]
        return {key: self.store.get(key) for key in keys}

    def check_commits(self) -> None:
        """What was committed is still what is committed, byte for byte."""
        now = self.commits()
        assert {name: now.get(name) for name in self._commits} == self._commits
        self._commits = now

    def leftovers(self) -> list[Process]:
        return [process for process in self._seen.values() if process.is_alive]

    def check_nothing_is_left(self) -> None:
        """But Ray's own agents, which look for their node once a minute; `tests/chaos/conftest.py` waits for those."""
        check_gone(lambda: [p for p in self.leftovers() if not RAY_AGENTS.search(p.command)], GONE_WITHIN_S)

    def clean_up(self) -> None:
        """End every process of a test that failed."""
        self.family()
        for process in self.leftovers():
            if not RAY_AGENTS.search(process.command):
                process.kill()


def check_gone(look: Callable[[], list[Process]], within_s: float) -> None:
    """Wait until `look` finds nobody."""
    give_up_at = time.monotonic() + within_s
    while look() and time.monotonic() < give_up_at:
        time.sleep(0.2)
    left = look()
    assert not left, f"still there after {within_s:g} s: {left}"


def send(processes: Sequence[Process], number: signal.Signals) -> None:
    """One after the other; those that are gone are passed over."""
    for process in processes:
        if process.is_alive:
            os.kill(process.pid, number)


def output_lines(objects: Mapping[str, bytes]) -> bytes:
    """The lines of parts, joined in the parts' order, which is the input's."""
    return b"".join(objects[key] for key in sorted(objects))
