"""The application: every route, and what holds for all of them. Starts nothing."""

from __future__ import annotations

import secrets

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.types import ASGIApp

from batch import __version__
from batch.server.fireworks.call import WhyWaiting
from batch.server.http.callers import Door
from batch.server.http.envelope import Envelope
from batch.server.http.errors import render_errors
from batch.server.http.fireworks import datasets, jobs, others, transfers, users
from batch.server.http.openai import batches, files, models, uploads
from batch.server.server import BatchServer

FORM_BYTES = 64 << 10
"""What a form has besides its file."""


def make_app(server: BatchServer, *, asks_for_keys: bool, why_waiting: WhyWaiting) -> ASGIApp:
    """The application over a server. `why_waiting`: of a job, by its account and id, for people."""
    app = FastAPI(
        title="batchctl",
        version=__version__,
        description="Batch inference for the clients that people have.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.door = Door(server, asks_for_keys)
    app.state.why_waiting = why_waiting
    app.state.uploads = CapacityLimiter(server.limits.uploads_at_once)
    render_errors(app)
    for part in (files, uploads, batches, models, datasets, jobs, transfers, users, others):
        app.include_router(part.router)
    app.get("/healthz", tags=["operation"])(_health)

    def limit_bytes(path: str) -> int:
        if path == files.router.prefix:
            return server.limits.file_bytes + FORM_BYTES
        if path.startswith(transfers.router.prefix) or path.endswith(":upload"):
            return server.limits.dataset_bytes + FORM_BYTES
        is_part = path.startswith(uploads.router.prefix) and path.endswith("/parts")
        return uploads.PART_BYTES + FORM_BYTES if is_part else server.limits.json_bytes

    return Envelope(
        app,
        new_id=lambda: f"req_{secrets.token_hex(16)}",
        limit_bytes=limit_bytes,
        silence_s=server.limits.silence_s,
    )


def _health() -> dict[str, str]:
    """Whether the server answers."""
    return {"status": "ok"}
