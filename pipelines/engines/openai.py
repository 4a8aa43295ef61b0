"""Any OpenAI-compatible endpoint as an engine: a running `vllm serve`, SGLang, a hosted deployment.

The endpoint keeps its own queue; this side keeps `concurrency` requests in flight and asks again when it is busy or
out of reach. Knows nothing of shards, stores or Ray.
"""

import asyncio
import logging
import os
import random
from http import HTTPStatus

import aiohttp
import orjson

from batch.errors import JobFailed
from batch.request import Request
from batch.result import Code, Usage
from batch.spec import JobSpec
from pipelines.engines.base import Answer

logger = logging.getLogger(__name__)

DEFAULT_CONCURRENCY = 256
DEFAULT_TIMEOUT_S = 3600.0
DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
TRIES = 8
FIRST_DELAY_S, MAX_DELAY_S = 0.5, 30.0


class OpenAIEngine:
    """One HTTP session to one endpoint."""

    name = "openai"
    version = ""

    def __init__(self, session: aiohttp.ClientSession, base_url: str, *, concurrency: int) -> None:
        self.config: dict[str, object] = {"base_url": base_url, "concurrency": concurrency}
        self.window = concurrency
        self._session = session
        self._base_url = base_url

    @classmethod
    async def start(cls, spec: JobSpec) -> "OpenAIEngine":
        """Open the session and ask the endpoint for its models. Raises JobFailed when it cannot be reached."""
        arguments = spec.engine_args
        base_url = str(arguments["base_url"]).rstrip("/")
        concurrency = int(arguments.get("concurrency", DEFAULT_CONCURRENCY))
        key = os.environ.get(str(arguments.get("api_key_env", DEFAULT_KEY_VARIABLE)), "")
        session = aiohttp.ClientSession(
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=aiohttp.ClientTimeout(total=float(arguments.get("timeout_s", DEFAULT_TIMEOUT_S)), sock_connect=30),
            connector=aiohttp.TCPConnector(limit=concurrency),
        )
        engine = cls(session, base_url, concurrency=concurrency)
        try:
            status_code, body = await engine._call("GET", f"{base_url}/models", b"")
        except (aiohttp.ClientError, TimeoutError) as error:
            await session.close()
            raise JobFailed(f"{base_url}/models cannot be reached ({error}): is the server up?") from error
        if status_code != HTTPStatus.OK:
            await session.close()
            raise JobFailed(f"{base_url}/models answers {status_code}: {body[:200]!r}; check the URL and the API key")
        return engine

    async def answer(self, request: Request) -> Answer:
        body = orjson.dumps(request.body)
        try:
            status_code, answered = await self._call("POST", _url(self._base_url, request.endpoint), body)
        except (aiohttp.ClientError, TimeoutError) as error:
            return _no_answer(HTTPStatus.GATEWAY_TIMEOUT, f"no answer: {type(error).__name__} {error}", Code.TIMEOUT)
        return _answer(status_code, answered)

    async def close(self) -> None:
        await self._session.close()

    async def _call(self, method: str, url: str, body: bytes) -> tuple[int, bytes]:
        """One call, repeated with growing, jittered pauses while the endpoint is busy or out of reach."""
        delay_s = FIRST_DELAY_S
        for left in reversed(range(TRIES)):
            try:
                async with self._session.request(method, url, data=body or None) as response:
                    answered = await response.read()
                    if response.status not in BUSY or not left:
                        return response.status, answered
                    pause_s = _pause_s(response.headers.get("Retry-After"), delay_s)
            except aiohttp.ClientConnectionError:
                if not left:
                    raise
                pause_s = delay_s
            await asyncio.sleep(pause_s * random.uniform(1.0, 1.5))  # never before the time it asked for
            delay_s = min(2 * delay_s, MAX_DELAY_S)
        raise AssertionError("unreachable: the last try returns or raises")


def _url(base_url: str, endpoint: str) -> str:
    """`/v1/chat/completions` under a base URL that ends in `/v1`, as OpenAI's clients are given it."""
    if endpoint.startswith("/v2/"):
        return base_url.removesuffix("/v1") + endpoint
    return base_url + endpoint.removeprefix("/v1")


def _pause_s(retry_after: str | None, delay_s: float) -> float:
    try:
        return min(max(float(retry_after or 0), delay_s), MAX_DELAY_S)
    except ValueError:  # an HTTP date
        return delay_s


def _answer(status_code: int, body: bytes) -> Answer:
    try:
        answered = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _no_answer(HTTPStatus.BAD_GATEWAY, f"status {status_code}, not JSON: {body[:200]!r}", Code.INTERNAL)
    if status_code == HTTPStatus.OK:
        return Answer(status_code, body, _usage(answered))
    error = _member(answered, "error")
    if not isinstance(error, dict):  # not a model server's refusal: its framework knows no such URL
        code = Code.UNSUPPORTED_ENDPOINT if status_code == HTTPStatus.NOT_FOUND else Code.INTERNAL
        return _no_answer(status_code, f"the endpoint answers {body[:200].decode(errors='replace')}", code)
    return Answer(status_code, body, Usage(), _code(status_code, str(error.get("message", ""))))


def _no_answer(status_code: int, message: str, code: Code) -> Answer:
    failure = {"error": {"message": message, "type": code, "param": None, "code": status_code}}
    return Answer(status_code, orjson.dumps(failure), Usage(), code)


def _usage(answered: object) -> Usage:
    usage = _member(answered, "usage")
    return Usage(
        prompt_tokens=_count(usage, "prompt_tokens") or _count(usage, "input_tokens"),
        completion_tokens=_count(usage, "completion_tokens") or _count(usage, "output_tokens"),
        cached_tokens=_count(_member(usage, "prompt_tokens_details"), "cached_tokens"),
    )


def _member(answered: object, name: str) -> object:
    return answered.get(name) if isinstance(answered, dict) else None


def _count(usage: object, name: str) -> int:
    count = _member(usage, name)
    return count if type(count) is int else 0


def _code(status_code: int, message: str) -> Code:
    if status_code == HTTPStatus.NOT_FOUND:
        return Code.MODEL_MISMATCH
    if status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or status_code in BUSY:
        return Code.INTERNAL
    return Code.PROMPT_TOO_LONG if "context length" in message else Code.INVALID_PARAMETER
