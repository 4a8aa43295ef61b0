"""Google Cloud Storage in memory on loopback: the requests that our store makes, and ifGenerationMatch honoured."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

PAGE_OBJECTS = 3  # Small, so that listings have several pages.


class FakeGcs(ThreadingHTTPServer):
    """One bucket; an object is its generation and its content."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, bucket: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.endpoint = f"http://127.0.0.1:{self.server_port}"
        self.bucket = bucket
        self.objects: dict[str, tuple[int, bytes]] = {}
        self.made: dict[str, str] = {}
        self.generations = count(1001)
        self.lock = threading.Lock()

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FakeGcs

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        bucket, _, name = url.path.partition("/b/")[2].partition("/o")
        name = asked.get("name") or unquote(name.removeprefix("/"))
        with self.server.lock:
            if bucket != self.server.bucket:
                self._fail(404)
            elif not name:
                self._list(asked)
            elif asked.get("ifGenerationMatch", str(self._generation(name))) != str(self._generation(name)):
                self._fail(412)
            elif self.command == "POST":
                self.server.objects[name] = (next(self.server.generations), body)
                self.server.made[name] = datetime.now(UTC).isoformat()
                self._answer(200, json.dumps(self._describe(name)).encode())
            elif name not in self.server.objects:
                self._fail(404)
            elif self.command == "DELETE":
                del self.server.objects[name]
                self._answer(204, b"")
            elif asked.get("alt") == "media":
                self._download(self.server.objects[name][1])
            else:
                self._answer(200, json.dumps(self._describe(name)).encode())

    do_GET = do_POST = do_DELETE = _handle  # noqa: N815 (names given by http.server)

    def _generation(self, name: str) -> int:
        return self.server.objects.get(name, (0, b""))[0]

    def _describe(self, name: str) -> dict[str, str]:
        generation, content = self.server.objects[name]
        made = self.server.made[name]
        return {"name": name, "size": str(len(content)), "generation": str(generation), "timeCreated": made}

    def _list(self, asked: dict[str, str]) -> None:
        after = asked.get("pageToken", "")
        names = sorted(
            name for name in self.server.objects if name.startswith(asked.get("prefix", "")) and name > after
        )
        page: dict[str, object] = {"items": [self._describe(name) for name in names[:PAGE_OBJECTS]]}
        if len(names) > PAGE_OBJECTS:
            page["nextPageToken"] = names[PAGE_OBJECTS - 1]
        self._answer(200, json.dumps(page).encode())

    def _download(self, content: bytes) -> None:
        if "Range" not in self.headers:
            return self._answer(200, content)
        start, end = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        if start >= len(content):
            return self._fail(416)
        return self._answer(206, content[start : end + 1])

    def _fail(self, status: int) -> None:
        self._answer(status, json.dumps({"error": {"code": status, "message": "refused"}}).encode())

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""
