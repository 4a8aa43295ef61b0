"""A server of ours as a process on loopback, over a root with a registered model that echoes."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
import openai
import pytest

from batch.server.admin.keys import Role
from batch.server.admin.models import ServedModel
from batch.server.admin.root import ServerRoot
from batch.server.server import BatchServer

MODEL, SOURCE = "echo-1", "/nowhere/models/echo"
ENDED = ("completed", "failed", "expired", "cancelled")
START_LIMIT_S = 60


@dataclass
class Serving:
    """The root, and the process that serves it now. `flags`: of `batchctl serve`."""

    root: str
    flags: tuple[str, ...] = ()
    url: str = ""
    process: subprocess.Popen[str] | None = None
    log: list[str] = field(default_factory=list)

    @property
    def server(self) -> BatchServer:
        """What its admin works with, beside the process."""
        return BatchServer(ServerRoot(self.root))

    def start(self) -> Self:
        """Start it on any free port, or on the one that it had."""
        port = self.url.rpartition(":")[2].removesuffix("/v1") or "0"
        command = [sys.executable, "-P", "-m", "batch", "serve", "--root", self.root, "--port", port, *self.flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://\S+", self.process.stdout.readline())
        assert found, "the server has not started"
        self.url = found[0]
        return self

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal; its exit code."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(START_LIMIT_S)

    def key(self, account: str = "team", role: Role = Role.USER) -> str:
        """A new key of an account."""
        self.server.create_account(account)
        return self.server.keys.create(account, role=role)[0]

    def client(self, key: str | None = None, **settings: Any) -> openai.OpenAI:
        """OpenAI's client, as people have it."""
        return openai.OpenAI(base_url=self.url, api_key=key or self.key(), **settings)

    def http(self, key: str | None = None) -> httpx.Client:
        """Plain requests with a key."""
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {key or self.key()}"}, timeout=60)


@contextmanager
def serving(folder: Path, *flags: str, engine_args: dict[str, Any] | None = None) -> Iterator[Serving]:
    """A server over a folder, ended with the block."""
    found = Serving(str(folder), flags)
    register(found, MODEL, engine_args or {})
    try:
        yield found.start()
    finally:
        if found.process is not None and found.process.poll() is None:
            found.end(signal.SIGKILL)


def register(found: Serving, name: str, engine_args: dict[str, Any]) -> None:
    """A model that echoes."""
    at = "2026-01-01T00:00:00.000000Z"
    found.server.models.create(ServedModel(name, SOURCE, at, engine="echo", engine_args=engine_args))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One server for the tests of a file."""
    with serving(tmp_path_factory.mktemp("served") / "root") as found:
        yield found


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One server for the tests of a file, which starts no job."""
    with serving(tmp_path_factory.mktemp("idle") / "root", "--no-scheduler") as found:
        yield found


def requests(rows: int | Sequence[str], *, model: str = MODEL, **body: Any) -> bytes:
    """The lines of a batch: so many questions, or these."""
    texts = [f"What is {n}+{n}?" for n in range(rows)] if isinstance(rows, int) else rows
    lines = (
        {
            "custom_id": f"r{number}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": model, "messages": [{"role": "user", "content": text}], **body},
        }
        for number, text in enumerate(texts)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)
