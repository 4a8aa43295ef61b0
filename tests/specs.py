"""Job specs and lines for tests that need one and care for one field of it."""

from typing import Any

import orjson

from batch.spec.job_spec import JobSpec
from connectors.datasets.lines import Line

FILE = "file:///in/rows.jsonl"


def job_spec(**changes: Any) -> JobSpec:
    fields: dict[str, Any] = {
        "job_id": "job-1",
        "inputs": (FILE,),
        "output": "file:///out",
        "model": "tiny",
        "created_at": "2026-01-02T03:04:05Z",
    }
    return JobSpec(**(fields | changes))


def line_of(content: object, number: int = 1, offset: int = 0) -> Line:
    raw = content if isinstance(content, bytes) else orjson.dumps(content)
    return Line(number, offset, raw)


def chat_line(custom_id: str = "a", **body: object) -> dict[str, object]:
    messages = [{"role": "user", "content": "1+1?"}]
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": messages, **body},
    }
