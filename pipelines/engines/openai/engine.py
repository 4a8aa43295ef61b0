"""Any OpenAI-compatible endpoint as an engine: a running `vllm serve`, SGLang, a hosted deployment.

The endpoint keeps its own queue; this side keeps `concurrency` requests in flight, and `retries.py` says when one is
asked again. What an answer says is read in `openai_answers.py`. Knows nothing of shards, stores or Ray.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus

import aiohttp

from batch.errors import JobFailed
from batch.result import Code
from batch.rows.request import Request
from batch.spec.engine_config import EngineConfig
from batch.strict_json import dumps
from pipelines.engines.base import Answer
from pipelines.engines.openai.answers import Reply, message_of, no_answer, read_answer, read_models, retry_after_s
from pipelines.engines.retries import settled

DEFAULT_CONCURRENCY = 256
DEFAULT_TIMEOUT_S = 3600.0
DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"


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
    async def start(cls, config: EngineConfig) -> "OpenAIEngine":
        """Open the session and ask the endpoint for its models. Raises JobFailed when it gives none."""
        arguments = config.engine_args
        base_url = str(arguments["base_url"]).rstrip("/")
        concurrency = int(arguments.get("concurrency", DEFAULT_CONCURRENCY))
        key = os.environ.get(str(arguments.get("api_key_env", DEFAULT_KEY_VARIABLE)), "").strip()
        session = aiohttp.ClientSession(
            headers={"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {}),
            timeout=aiohttp.ClientTimeout(total=float(arguments.get("timeout_s", DEFAULT_TIMEOUT_S)), sock_connect=30),
            connector=aiohttp.TCPConnector(limit=concurrency),
        )
        engine = cls(session, base_url, concurrency=concurrency)
        models = await settled(engine._models)
        if models.code is not None:
            await session.close()
            raise JobFailed(f"{message_of(models)}: is the server up, and are base_url and the API key right?")
        return engine

    async def answer(self, request: Request) -> Answer:
        """Return what the endpoint answers to one request, which is sent once."""
        body = dumps(request.body)
        return await self._asked("POST", _url(self._base_url, request.endpoint), body, partial(read_answer, request))

    async def close(self) -> None:
        await self._session.close()

    async def _models(self) -> Answer:
        return await self._asked("GET", f"{self._base_url}/models", b"", read_models)

    async def _asked(self, method: str, url: str, body: bytes, read: Callable[[Reply], Answer]) -> Answer:
        try:
            # A redirect is not followed: the job named this address, and no other one gets its prompts and its key.
            async with self._session.request(method, url, data=body or None, allow_redirects=False) as response:
                content, headers = await response.read(), response.headers
        except aiohttp.ClientError as error:  # that of a body which was cut is one of them
            message = f"{url} cannot be reached ({type(error).__name__}: {error})"
            return no_answer(HTTPStatus.BAD_GATEWAY, message, Code.INTERNAL)
        except TimeoutError:
            message = f"{url} gave no answer within {self._session.timeout.total:g} s (engine argument timeout_s)"
            return no_answer(HTTPStatus.GATEWAY_TIMEOUT, message, Code.TIMEOUT)
        pause_s = retry_after_s(headers.get("Retry-After"), datetime.now(UTC))
        return read(Reply(url, response.status, content, headers.get("Location"), pause_s))


def _url(base_url: str, endpoint: str) -> str:
    """`/v1/chat/completions` under a base URL that ends in `/v1`, as OpenAI's clients are given it."""
    if endpoint.startswith("/v2/"):
        return base_url.removesuffix("/v1") + endpoint
    return base_url + endpoint.removeprefix("/v1")
