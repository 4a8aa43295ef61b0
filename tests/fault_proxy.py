"""An HTTP proxy on loopback that injects one fault per planned call and counts the calls on the wire."""

import http.client
import socket
import struct
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, Self
from urllib.parse import urlsplit

Fault = Literal["lost_ack", "500_after", "503_before", "reset_before", "truncated"]


class FaultProxy:
    """`plan("PUT", "lost_ack")` makes the next PUT suffer; faults of one method are taken in order."""

    def __init__(self, upstream: str) -> None:
        self.calls: list[str] = []
        self._planned: dict[str, deque[Fault]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(urlsplit(upstream).netloc))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def plan(self, method: str, *faults: Fault) -> None:
        self._planned.setdefault(method, deque()).extend(faults)

    def next_fault(self, method: str) -> Fault | None:
        self.calls.append(method)
        planned = self._planned.get(method)
        return planned.popleft() if planned else None

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, upstream: str) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_call(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault = proxy.next_fault(self.command)
                if fault == "reset_before":
                    return self.reset()
                if fault == "503_before":
                    return self.answer(503, [], b"")
                status, headers, content = self.forward(body)
                if fault == "lost_ack":
                    return self.reset()
                if fault == "500_after":
                    return self.answer(500, [], b"")
                return self.answer(status, headers, content, truncated=fault == "truncated")

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_call

            def forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
                connection = http.client.HTTPConnection(upstream, timeout=10)
                try:
                    connection.request(self.command, self.path, body, dict(self.headers))
                    reply = connection.getresponse()
                    return reply.status, reply.getheaders(), reply.read()
                finally:
                    connection.close()

            def answer(
                self, status: int, headers: list[tuple[str, str]], content: bytes, *, truncated: bool = False
            ) -> None:
                self.send_response_only(status)
                length = dict((name.lower(), value) for name, value in headers).get("content-length", len(content))
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if truncated:
                    self.wfile.write(content[: len(content) // 2])
                    return self.reset()
                self.wfile.write(b"" if self.command == "HEAD" else content)
                return None

            def reset(self) -> None:
                self.wfile.flush()
                # Zero linger: the peer sees a reset, not an orderly end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler
