"""Google Cloud Storage in memory on loopback: the requests that our store makes, and ifGenerationMatch honoured."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

BLOCK_BYTES = 256 << 10  # What a resumable upload is kept in, but for its end.
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
        self.uploads: dict[str, tuple[str, bytearray]] = {}
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

    def _handle(self) -> None:  # noqa: C901 - one table of all requests
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        bucket, _, name = url.path.partition("/b/")[2].partition("/o")
        name = asked.get("name") or unquote(name.removeprefix("/"))
        with self.server.lock:
            if bucket != self.server.bucket:
                self._fail(404)
            elif not name and "upload_id" in asked:
                self._go_on(asked["upload_id"], body)
            elif not name:
                self._list(asked)
            elif asked.get("ifGenerationMatch", str(self._generation(name))) != str(self._generation(name)):
                self._fail(412)
            elif self.command == "POST":
                self._upload(name, body, asked)
            elif name not in self.server.objects:
                self._fail(404)
            elif self.command == "DELETE":
                del self.server.objects[name]
                self._answer(204, b"")
            elif asked.get("alt") == "media":
                self._download(self.server.objects[name][1])
            else:
                self._answer(200, json.dumps(self._describe(name)).encode())

    def _upload(self, name: str, body: bytes, asked: dict[str, str]) -> None:
        if asked["uploadType"] != "resumable":
            return self._store(name, body)
        upload = f"u{next(self.server.generations)}"
        self.server.uploads[upload] = (name, bytearray())
        place = f"{self.server.endpoint}/upload/storage/v1/b/{self.server.bucket}/o?upload_id={upload}"
        return self._answer(200, b"", Location=place)

    def _store(self, name: str, content: bytes) -> None:
        self.server.objects[name] = (next(self.server.generations), content)
        self.server.made[name] = datetime.now(UTC).isoformat()
        self._answer(200, json.dumps(self._describe(name)).encode())

    def _go_on(self, upload: str, body: bytes) -> None:
        """A part of a resumable upload: whole blocks until the total is told, its condition judged at the end."""
        if self.command == "DELETE":
            self.server.uploads.pop(upload, None)
            return self._fail(499)
        if upload not in self.server.uploads:
            return self._fail(404)
        name, content = self.server.uploads[upload]
        span, total = self.headers["Content-Range"].removeprefix("bytes ").split("/")
        start = int(span.partition("-")[0])
        fresh = body[len(content) - start :]
        if total == "*":
            content += fresh[: len(fresh) // BLOCK_BYTES * BLOCK_BYTES]
            return self._answer(308, b"", Range=f"bytes=0-{len(content) - 1}")
        content += fresh
        assert len(content) == int(total)
        if name in self.server.objects and self.server.objects[name][1] != content:
            return self._fail(412)
        return self._store(name, bytes(content))

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 (names given by http.server)

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

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""
