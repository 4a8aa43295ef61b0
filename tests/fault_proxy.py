"""An HTTP proxy on loopback that injects one fault per planned call and counts the calls on the wire."""

import http.client
import random
import socket
import struct
import sys
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import urlsplit

Fault = Literal["lost_ack", "500_after", "503_before", "reset_before", "hang", "truncated"]
Reply = tuple[int, list[tuple[str, str]], bytes]
BY_CHANCE: tuple[Fault, ...] = ("lost_ack", "500_after", "503_before", "reset_before")
_OWN_HEADERS = ("content-length", "connection", "transfer-encoding")


class FaultProxy(ThreadingHTTPServer):
    """`plan("PUT", "lost_ack")` makes the next PUT suffer; faults of one method are taken in order."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[str] = []
        self.upstream = urlsplit(upstream).netloc
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.ending = threading.Event()
        self.suffered = 0
        self.is_away = False
        """Every call is broken off."""
        self._planned: dict[str, deque[Fault | None]] = {}
        self._chance: random.Random | None = None
        self._share = 0.0

    def plan(self, method: str, *faults: Fault | None) -> None:
        self._planned.setdefault(method, deque()).extend(faults)

    def sprinkle(self, share: float, chance: random.Random) -> None:
        """Let that share of all calls suffer one of BY_CHANCE from now on."""
        self._share, self._chance = share, chance

    def next_fault(self, method: str) -> Fault | None:
        self.calls.append(method)
        if self.is_away:
            return "reset_before"
        planned = self._planned.get(method)
        if planned:
            return planned.popleft()
        if self._chance is None or self._chance.random() >= self._share:
            return None
        self.suffered += 1
        return self._chance.choice(BY_CHANCE)

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet about a client that was killed."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typed by what sockets there are

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultProxy

    def _handle(self) -> None:
        fault = self.server.next_fault(self.command)
        if fault == "hang":
            # Not even the body is taken: a client that only waits for answers waits for ever.
            self.server.ending.wait()
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if fault == "reset_before":
            self._reset()
        elif fault == "503_before":
            self._answer((503, [], b""))
        else:
            self._after(fault, self._forward(body))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _handle  # noqa: N815 (names given by http.server)

    def _after(self, fault: Fault | None, reply: Reply) -> None:
        if fault == "lost_ack":
            self._reset()
        elif fault == "500_after":
            self._answer((500, [], b""))
        elif fault == "truncated":
            status, headers, content = reply
            self._answer((status, headers, content[: len(content) // 2]), length_bytes=len(content))
            self._reset()
        else:
            self._answer(reply)

    def _forward(self, body: bytes) -> Reply:
        connection = http.client.HTTPConnection(self.server.upstream, timeout=10)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()

    def _answer(self, reply: Reply, *, length_bytes: int | None = None) -> None:
        status, headers, content = reply
        self.send_response_only(status)
        given = {name.lower(): value for name, value in headers}
        for name, value in given.items():
            if name not in _OWN_HEADERS:
                self.send_header(name, value)
        head_bytes = given.get("content-length", "0") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length_bytes or head_bytes))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        self.wfile.flush()
        # Zero linger: the peer sees a reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Quiet."""
