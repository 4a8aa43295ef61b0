"""Every shape of request, all in one batch and among rows whose fields hold anything, is answered as vLLM's server
answers it alone: the same status, the same body. So no row changes what its neighbours get, and none ends the job.

One job and one server. With BATCHCTL_TESTS=long there are 100,000 such rows.
"""

import http.client
import json
from pathlib import Path
from typing import Any

import pytest
from long_run import LONG
from random_rows import random_rows
from request_shapes import Body, shapes
from vllm_runs import SERVED_NAME, Answered, Row, comparable, engine_flags, near, run_ours, server, write_rows

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(3600)]

SHAPES = list(shapes(SERVED_NAME))
RANDOM_ROWS, SEED = (100_000 if LONG else 1_000), 14
CODES = {"invalid_parameter", "model_mismatch", "prompt_too_long", "unsupported_endpoint", "internal"}


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """Our rows by custom_id: those of the shapes are spread among the random ones."""
    folder = tmp_path_factory.mktemp("shapes")
    rows = [row(f"r{n}", *drawn) for n, drawn in enumerate(random_rows(SERVED_NAME, RANDOM_ROWS, SEED))]
    for n, shape in enumerate(SHAPES):
        rows.insert(n * len(rows) // len(SHAPES), row(f"s{n}", *shape))
    requests = write_rows(folder / "rows.jsonl", rows)
    # No cache, since a server that is asked one request after another finds more in its own.
    flags = [*engine_flags(), "--engine-arg", "enable_prefix_caching=false"]
    return run_ours(requests, folder / "out", *flags, timeout_s=280 + RANDOM_ROWS / 40)


def row(custom_id: str, endpoint: str, body: Body) -> Row:
    return {"custom_id": custom_id, "method": "POST", "url": endpoint, "body": body}


def test_each_shape_is_answered_as_by_the_server(ours: Answered) -> None:
    with server("--no-enable-prefix-caching") as base_url:
        address = base_url.removeprefix("http://").removesuffix("/v1")
        theirs = [posted(address, *shape) for shape in SHAPES]

    differing = [
        f"{shape}: {difference}"
        for n, (shape, their) in enumerate(zip(SHAPES, theirs, strict=True))
        if (difference := difference_of(ours.rows[f"s{n}"], *their))
    ]
    assert not differing, "\n".join(differing)
    assert {status for status, _ in theirs} == {200, 400, 404, 500}


def test_rows_whose_fields_hold_anything_come_out_once_and_end_no_job(ours: Answered) -> None:
    assert ours.exit_code == 0
    assert set(ours.rows) == {*(f"r{n}" for n in range(RANDOM_ROWS)), *(f"s{n}" for n in range(len(SHAPES)))}
    assert {line["error"]["code"] for line in ours.rows.values() if line["error"]} <= CODES  # type: ignore[index]
    manifest = json.loads(Path(ours.output, "manifest.json").read_text())
    assert (manifest["state"], manifest["attempts"]) == ("COMPLETED", 1)
    assert not list(Path(ours.output, "_job/crashes").glob("*"))  # the first engine answered them all


def posted(address: str, endpoint: str, body: Body) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(address)
    connection.request("POST", endpoint, json.dumps(body), {"Content-Type": "application/json"})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def difference_of(our_row: Any, status: int, body: Any) -> str | None:
    our = our_row["response"]
    if our["status_code"] != status:
        return f"{our['status_code']} and not {status}: {our_row['error']}, {body}"
    if our_row["error"] is None and comparable(our["body"]) != near(comparable(body)):
        return f"{our['body']} and not {body}"
    return None
