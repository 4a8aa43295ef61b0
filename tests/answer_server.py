"""An OpenAI-compatible endpoint on loopback that echoes prompts, and remembers how often and when it was asked.

The engines of a job come and go, and this one counts what all of them asked for.
"""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import orjson

REFUSED = "too long"
"""A prompt that ends so is refused, as one that does not fit the context."""


@dataclass
class Call:
    """One request. `kills`: how many there had been when it came. `answered_at_s`: monotonic, None while it waits."""

    kills: int
    answered_at_s: float | None = None


class AnswerServer(ThreadingHTTPServer):
    """Answers after `delay_s`; prompts that `holds` names wait for `release`. Equal prompts get equal bytes."""

    daemon_threads = True
    request_queue_size = 512

    def __init__(self, *, delay_s: float = 0.0, holds: Callable[[str], bool] = lambda prompt: False) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base_url = f"http://127.0.0.1:{self.server_port}/v1"
        self.delay_s = delay_s
        self.holds = holds
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        self.killed_at_s: list[float] = []
        self._guard = threading.Lock()
        self._released = threading.Event()

    def note_kill(self, at_s: float) -> None:
        """Calls from now on belong to the time after a kill, which came at `at_s`, monotonic."""
        with self._guard:
            self.killed_at_s.append(at_s)

    def release(self) -> None:
        """Answer what is held, and hold nothing any more."""
        self._released.set()

    @property
    def asked(self) -> int:
        """How many calls there have been."""
        with self._guard:
            return sum(map(len, self.calls.values()))

    def asked_since_kill(self) -> bool:
        """Whether a row was asked for after the last kill."""
        with self._guard:
            return any(calls[-1].kills == len(self.killed_at_s) for calls in self.calls.values())

    def repeated(self) -> list[int]:
        """How many calls each kill made worthless: those that the same row was asked again after."""
        with self._guard:
            lost = Counter(call.kills for calls in self.calls.values() for call in calls[:-1])
            return [lost[kill] for kill in range(len(self.killed_at_s))]

    def oldest_loss_s(self) -> float:
        """How long before its kill the oldest answer was given that had to be given again."""
        with self._guard:
            lost = [call for calls in self.calls.values() for call in calls[:-1] if call.answered_at_s is not None]
            return max((self.killed_at_s[call.kills] - (call.answered_at_s or 0.0) for call in lost), default=0.0)

    def enter(self, prompt: str) -> Call:
        """Count a call and keep it as long as it has to wait."""
        with self._guard:
            call = Call(len(self.killed_at_s))
            self.calls[prompt].append(call)
        if self.holds(prompt):
            self._released.wait()
        time.sleep(self.delay_s)
        return call

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: a client that was killed leaves a broken connection."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AnswerServer

    def do_GET(self) -> None:
        self._reply(200, {"object": "list", "data": []})

    def do_POST(self) -> None:
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = self.server.enter(body["prompt"])
        if body["prompt"].endswith(REFUSED):
            message = f"The prompt does not fit the context length: {body['prompt']}"
            self._reply(400, {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}})
        else:
            self._reply(200, _completion(body))
        call.answered_at_s = time.monotonic()

    def _reply(self, status: int, body: object) -> None:
        content = orjson.dumps(body)
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _completion(body: dict[str, Any]) -> dict[str, object]:
    words = len(body["prompt"].split())
    return {
        "id": f"cmpl-{body['prompt']}",
        "object": "text_completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "text": body["prompt"], "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": words, "completion_tokens": words, "total_tokens": 2 * words},
    }
