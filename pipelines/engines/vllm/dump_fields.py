"""Writes batch/planning/request_fields.json from vLLM's own request classes: run it when vLLM is upgraded.

    python -m pipelines.engines.vllm.dump_fields

`batch` never imports vLLM, yet knows the names that a request's body may hold: by this file. Knows nothing of jobs.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import orjson
from pydantic import BaseModel

TARGET = Path(__file__).parents[3] / "batch" / "planning" / "request_fields.json"


def names(request: Any) -> list[str]:
    """Return the names of a request class's fields, or of those of a union, with the aliases they may be given by."""
    fields = [item for each in _classes(request) for item in each.model_fields.items()]
    return sorted({name for name, _ in fields} | {field.alias for _, field in fields if field.alias})


def _classes(request: Any) -> Iterator[type[BaseModel]]:
    if isinstance(request, type) and issubclass(request, BaseModel):
        yield request
    for member in get_args(request):
        yield from _classes(member)


def known_fields() -> dict[str, list[str]]:
    """Return endpoint -> the names that vLLM knows. It is imported here."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest
    from vllm.entrypoints.pooling.embed.protocol import EmbeddingRequest
    from vllm.entrypoints.pooling.scoring.protocol import RerankRequest, ScoreRequest

    requests = {
        "/v1/chat/completions": ChatCompletionRequest,
        "/v1/completions": CompletionRequest,
        "/v1/embeddings": EmbeddingRequest,
        "/v1/responses": ResponsesRequest,
        "/v1/score": ScoreRequest,
        "/v1/rerank": RerankRequest,
    }
    return {endpoint: names(request) for endpoint, request in requests.items()}


if __name__ == "__main__":
    TARGET.write_bytes(orjson.dumps(known_fields(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
