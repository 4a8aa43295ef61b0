"""What `batchctl serve` refuses for its size or number, and how it is told."""

import os
import socket
import subprocess
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx
import openai
import pytest
from serving import Serving, idle, requests, serving

__all__ = ["idle"]
WINDOW: Final = "24h"
CHAT: Final = "/v1/chat/completions"


def test_bodies_that_are_too_large_are_refused_before_they_are_read(idle: Serving) -> None:
    http = idle.http(idle.key("large"))
    host, port = http.base_url.host, http.base_url.port
    assert port is not None
    for path in ("/v1/batches", "/v1/files", "/v1/uploads/upload_x/parts"):
        with socket.create_connection((host, port), timeout=20) as sender:
            sender.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**9}\r\n\r\n".encode())
            assert sender.recv(12) == b"HTTP/1.1 413"

    def endless() -> Any:
        yield b'{"a": "'
        while True:
            yield b"x" * 65536

    with suppress(httpx.WriteError, httpx.RemoteProtocolError):  # the server may hang up while we still send
        assert http.post("/batches", content=endless()).status_code == 413


def test_over_a_limit_a_create_is_told_the_numbers(idle: Serving) -> None:
    client = idle.client(idle.key("limited"), max_retries=2)
    account = idle.server.root.account("limited")
    assert account is not None
    file = client.files.create(file=("a.jsonl", requests(1)), purpose="batch")
    idle.server.root.update_account(
        replace(account, max_unfinished_jobs=2, max_stored_bytes=3 * len(requests(1)), max_priority=5)
    )
    asked: dict[str, Any] = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": WINDOW}
    with pytest.raises(openai.RateLimitError, match="priority of 6 was asked for; this account may have 5"):
        client.batches.create(**asked, metadata={"batchctl_priority": "6"})
    made = [client.batches.create(**asked).id for _ in range(2)]
    with pytest.raises(openai.RateLimitError, match="2 jobs wait or run; this account may have 2") as caught:
        client.batches.create(**asked)
    assert (caught.value.code, caught.value.type) == ("quota_exceeded", "insufficient_quota")
    assert caught.value.response.request.headers["x-stainless-retry-count"] == "0"  # it was told not to try again
    retried = client.batches.create(**asked, extra_headers={"x-stainless-retry-count": "1"})
    assert retried.id in made
    with pytest.raises(openai.RateLimitError, match="bytes of files are kept"):
        client.files.create(file=("b.jsonl", requests(3)), purpose="batch")


def test_headers_are_bounded(idle: Serving) -> None:
    host, port = idle.http(idle.key("headers")).base_url.host, int(idle.url.rpartition(":")[2].removesuffix("/v1"))
    for line in (b"a" * 1000, b"x: y\r\n" * 100):
        with socket.create_connection((host, port), timeout=20) as sender, suppress(ConnectionError):
            sender.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: ")
            for _ in range(1000):
                sender.sendall(line)
            assert sender.recv(12) in (b"HTTP/1.1 431", b"")  # and no end of the headers was ever sent
    with socket.create_connection((host, port), timeout=20) as sender:
        sender.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * (60 << 10) + b"\r\n\r\n")
        assert sender.recv(12) == b"HTTP/1.1 401"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a small disk")
def test_a_full_disk_is_told_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=False).returncode:
        pytest.skip("this container may not mount")
    try:
        with serving(disk / "root", "--no-scheduler") as found, found.http() as http:
            content = requests(["x" * 1000] * 4000)
            answer = http.post("/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", content)})
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_full")
            assert http.get("/files").json()["data"] == []
            small = http.post("/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", requests(1))})
            assert small.status_code == 200
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
