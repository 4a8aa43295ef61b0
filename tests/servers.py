"""Storage servers on loopback for tests: S3 by moto, Azure by azurite, and s3rver, which ignores conditions."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import MappingProxyType

import pytest

NPM = Path(__file__).parents[1] / "build" / "npm"
PACKAGES = ("azurite@3.37.0", "openai@6.49.0", "s3rver@3.7.1")
OLDEST_NODE = 20
INSTALL_LIMIT_S = 100  # Below the time limit of a test.
START_LIMIT_S = 60


@contextmanager
def moto() -> Iterator[str]:
    """An S3 server in memory; yields its address."""
    port = free_port()
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port) as endpoint:
        yield endpoint


@contextmanager
def azurite(account: str) -> Iterator[str]:
    """An Azure Blob server in memory with one account, as name:key. Skips the test where npm does not provide it."""
    port = free_port()
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    command = [npm_program("azurite-blob"), *options, "--skipApiVersionCheck", "--disableTelemetry"]
    with running(command, port, {"AZURITE_ACCOUNTS": account}) as endpoint:
        yield endpoint


@contextmanager
def s3rver(directory: Path, bucket: str) -> Iterator[str]:
    """An S3 server that ignores If-None-Match; yields its address. Skips the test where npm does not provide it."""
    port = free_port()
    options = ["-a", "127.0.0.1", "-p", str(port), "-d", str(directory), "--configure-bucket", bucket, "--silent"]
    with running([npm_program("s3rver"), *options], port) as endpoint:
        yield endpoint


def node_script(name: str, source: str) -> list[str]:
    """The command that runs a script with the npm packages in reach. Skips the test where npm does not provide them."""
    if problem := npm_problem():
        pytest.skip(problem)
    script = NPM / name
    script.write_text(source)
    return ["node", str(script)]


def npm_program(name: str) -> str:
    """The path of an npm package's program, installed below build/ when it is first asked for."""
    if problem := npm_problem():
        pytest.skip(problem)
    return str(NPM / "node_modules" / ".bin" / name)


@cache
def npm_problem() -> str | None:
    """Install the servers once for all processes; say what keeps them from being there, or None."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        return "npm is not installed: it provides azurite and s3rver"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0] or 0) < OLDEST_NODE:
        return f"azurite needs Node.js {OLDEST_NODE} or newer and {node} is {version or 'broken'}"
    NPM.mkdir(parents=True, exist_ok=True)
    with (NPM / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install(npm)


def _install(npm: str) -> str | None:
    done, wanted = NPM / "installed", " ".join(PACKAGES)
    if done.exists() and done.read_text() == wanted:
        return None
    # --prefix keeps npm from looking for a project above; scripts of packages are not run.
    options = ["--prefix", str(NPM), "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0"]
    command = [npm, "install", "--loglevel=error", *options, *PACKAGES]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_LIMIT_S)
    except subprocess.CalledProcessError as failure:
        said = " ".join(failure.stderr.split())
        return f"npm could not install {wanted}: {said[:200]}"
    except subprocess.TimeoutExpired:
        return f"npm could not install {wanted} within {INSTALL_LIMIT_S} s"
    done.write_text(wanted)
    return None


@contextmanager
def running(command: Sequence[str], port: int, settings: Mapping[str, str] = MappingProxyType({})) -> Iterator[str]:
    """A server process while the block runs; yields its address once it listens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AZURE_", "AZURITE_"))}
    silence = subprocess.DEVNULL
    server = subprocess.Popen(command, stdout=silence, stderr=silence, env={**kept, **settings})
    try:
        _wait_for(port, server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def request(method: str, url: str) -> None:
    """Make a request that must succeed."""
    urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=START_LIMIT_S).close()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline_s:
        assert server.poll() is None, f"the test server {server.args!r} ended by itself"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the test server did not listen within {START_LIMIT_S} s")
