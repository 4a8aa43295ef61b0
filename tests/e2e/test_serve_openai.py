"""OpenAI's own client, unmodified, against `batchctl serve`: every call of files, uploads, batches and models."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import openai
import pytest
from serving import ENDED, MODEL, SOURCE, Serving, idle, requests, served

from batch.server.admin.keys import Role

__all__ = ["idle", "served"]
pytestmark = pytest.mark.ray

WINDOW: Final = "24h"
ODD_ROWS = requests(1, model="other").replace(b'"r0"', b'"odd"') + b"no json\n"
CHAT: Final = "/v1/chat/completions"


def ended(client: openai.OpenAI, batch: Any, limit_s: float = 120) -> Any:
    until = time.monotonic() + limit_s
    while batch.status not in ENDED:
        assert time.monotonic() < until, batch
        time.sleep(0.2)
        batch = client.batches.retrieve(batch.id)
    return batch


def upload(client: openai.OpenAI, content: bytes, name: str = "in.jsonl") -> Any:
    return client.files.create(file=(name, content), purpose="batch")


@pytest.fixture
def client(idle: Serving, request: pytest.FixtureRequest) -> openai.OpenAI:
    """Of an account of the test's own."""
    return idle.client(idle.key(f"a{abs(hash(request.node.name))}"))


@pytest.fixture
def http(idle: Serving, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """The same without a client's own ways."""
    with idle.http(idle.key(f"a{abs(hash(request.node.name))}")) as found:
        yield found


@pytest.fixture(scope="module")
def done(served: Serving) -> tuple[openai.OpenAI, Any]:
    """A client, and a batch of its that has ended: 40 rows, one of another model, one that is no JSON."""
    client = served.client()
    file = upload(client, requests(40) + ODD_ROWS)
    batch = client.batches.create(
        input_file_id=file.id, endpoint=CHAT, completion_window=WINDOW, metadata={"team": "a"}
    )
    assert batch.status in ("validating", "in_progress")
    assert (batch.output_file_id, batch.model, batch.metadata) == (None, MODEL, {"team": "a"})
    assert batch.expires_at is not None
    assert batch.expires_at == batch.created_at + 86_400
    client.files.delete(file.id)  # the job that reads it goes on
    return client, ended(client, batch)


def test_a_batch_from_upload_to_parsed_results(done: tuple[openai.OpenAI, Any]) -> None:
    client, batch = done
    assert batch.status == "completed"
    assert (batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed) == (42, 40, 2)
    assert batch.usage.total_tokens == batch.usage.input_tokens + batch.usage.output_tokens > 0
    results = [json.loads(line) for line in client.files.content(batch.output_file_id).text.splitlines()]
    assert [result["custom_id"] for result in results] == [f"r{n}" for n in range(40)]
    assert results[7]["response"]["body"]["choices"][0]["message"]["content"] == "What is 7+7?"
    assert all(result["error"] is None and result["response"]["status_code"] == 200 for result in results)
    answered, unread = [json.loads(line) for line in client.files.content(batch.error_file_id).text.splitlines()]
    assert (answered["custom_id"], answered["response"]["status_code"], answered["error"]) == ("odd", 404, None)
    assert unread["custom_id"] is None
    assert (unread["error"]["code"], unread["error"]["line"]) == ("malformed_json", 42)


def test_no_answer_shows_a_path_of_the_machine(served: Serving, done: tuple[openai.OpenAI, Any]) -> None:
    client, batch = done
    errors = client.files.content(batch.error_file_id).text
    shown = [batch.to_json(), errors, client.files.list().to_json(), client.batches.list().to_json()]
    assert all(place not in text for text in shown for place in (served.root, SOURCE))
    assert "this job serves echo-1;" in errors


def test_outputs_outlive_their_input_and_can_be_deleted(done: tuple[openai.OpenAI, Any]) -> None:
    client, batch = done
    output = client.files.retrieve(batch.error_file_id)
    assert output.purpose == "batch_output"
    whole = client.files.retrieve(batch.output_file_id)
    assert whole.bytes == len(client.files.content(whole.id).content)
    assert {each.id for each in client.files.list(purpose="batch_output")} == {output.id, whole.id}
    client.files.delete(output.id)
    with pytest.raises(openai.NotFoundError):
        client.files.content(output.id)
    assert [each.id for each in client.files.list()] == [whole.id]
    assert client.batches.retrieve(batch.id).error_file_id == output.id


def test_a_cancelled_batch_ends_and_may_be_cancelled_again(served: Serving) -> None:
    client = served.client()
    file = upload(client, requests(50))
    batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window=WINDOW)
    cancelled = client.batches.cancel(batch.id)
    assert cancelled.status in ("cancelling", "cancelled")
    batch = ended(client, cancelled)
    assert batch.status == "cancelled"
    assert batch.request_counts.completed + batch.request_counts.failed in (0, 50)
    assert client.batches.cancel(batch.id).status == "cancelled"


def test_files_are_listed_read_in_ranges_and_deleted(client: openai.OpenAI) -> None:
    content = requests(300)
    files = [upload(client, content + b"\n" * n, f"{n}.jsonl") for n in range(5)]
    newest_first = [file.id for file in client.files.list(limit=2)]
    assert newest_first[:5] == [file.id for file in reversed(files)]
    assert [file.id for file in client.files.list(order="asc", purpose="batch")] == [file.id for file in files]
    assert client.files.retrieve(files[0].id).filename == "0.jsonl"
    assert client.files.content(files[0].id).read() == content

    path = f"/files/{files[0].id}/content"
    for asked, span in (("bytes=10-19", (10, 20)), ("bytes=10-", (10, None)), ("bytes=-5", (-5, None))):
        answer = client.get(path, cast_to=httpx.Response, options={"headers": {"range": asked}})
        assert answer.status_code == 206
        assert answer.content == content[slice(*span)]
    with pytest.raises(openai.APIStatusError) as caught:
        client.get(path, cast_to=httpx.Response, options={"headers": {"range": f"bytes={len(content)}-"}})
    assert caught.value.status_code == 416

    deleted = client.files.delete(files[0].id)
    assert (deleted.id, deleted.deleted) == (files[0].id, True)
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {files[0].id}"):
            call(files[0].id)


def test_a_file_in_parts(client: openai.OpenAI) -> None:
    content = requests(200)
    made = client.uploads.create(
        bytes=len(content), filename="parts.jsonl", mime_type="application/jsonl", purpose="batch"
    )
    assert made.status == "pending"
    cuts = [content[:1000], content[1000:1007], content[1007:]]
    parts = [client.uploads.parts.create(upload_id=made.id, data=cut).id for cut in reversed(cuts)]
    with pytest.raises(openai.BadRequestError, match="MD5"):
        client.uploads.complete(made.id, part_ids=parts[::-1], md5="0" * 32)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    done = client.uploads.complete(made.id, part_ids=parts[::-1], md5=digest)
    assert done.status == "completed"
    assert done.file is not None
    again = client.uploads.complete(made.id, part_ids=parts[::-1])
    assert again.file is not None
    assert again.file.id == done.file.id
    assert client.files.content(done.file.id).content == content
    with pytest.raises(openai.BadRequestError, match="completed"):
        client.uploads.parts.create(upload_id=made.id, data=b"more")

    whole = client.uploads.upload_file_chunked(
        file=content, filename="chunked.jsonl", bytes=len(content), mime_type="application/jsonl", purpose="batch"
    )
    assert whole.file is not None
    assert client.files.content(whole.file.id).content == content
    gone = client.uploads.create(bytes=9, filename="x.jsonl", mime_type="application/jsonl", purpose="batch")
    assert client.uploads.cancel(gone.id).status == "cancelled"
    assert client.uploads.cancel(gone.id).status == "cancelled"


def test_batches_are_listed_newest_first(client: openai.OpenAI) -> None:
    file = upload(client, requests(1))
    made = [client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window=WINDOW).id for _ in range(5)]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    page = client.batches.list(limit=2, after=made[3])
    assert [batch.id for batch in page.data] == [made[2], made[1]]
    assert page.has_more


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such")


def test_a_request_that_is_sent_again_makes_one_thing(client: openai.OpenAI) -> None:
    again = {"x-stainless-retry-count": "1"}
    content = requests(2)
    first = client.files.create(file=("a.jsonl", content), purpose="batch")
    retried = client.files.create(file=("a.jsonl", content), purpose="batch", extra_headers=again)
    assert retried.id == first.id
    asked: dict[str, Any] = {"input_file_id": first.id, "endpoint": CHAT, "completion_window": WINDOW}
    batch = client.batches.create(**asked)
    assert client.batches.create(**asked, extra_headers=again).id == batch.id
    assert client.batches.create(**asked).id != batch.id
    keyed = {"idempotency-key": "k1"}
    assert (
        client.batches.create(**asked, extra_headers=keyed).id == client.batches.create(**asked, extra_headers=keyed).id
    )
    with pytest.raises(openai.ConflictError, match="Idempotency-Key"):
        client.batches.create(**asked | {"completion_window": "48h"}, extra_headers=keyed)


BAD_BATCHES: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"endpoint": "/v1/moderations"}, 400, "unsupported_endpoint", "endpoint"),
    ({"completion_window": "25 years"}, 400, "invalid_value", "completion_window"),
    ({"metadata": {"k": "v" * 513}}, 400, "invalid_value", "metadata.k"),
    ({"metadata": {str(n): "" for n in range(17)}}, 400, "invalid_value", "metadata"),
    ({"metadata": {"batchctl_priority": "high"}}, 400, "invalid_value", "metadata.batchctl_priority"),
    ({"metadata": {"a": 1}}, 400, "invalid_value", "metadata.a"),
    (
        {"output_expires_after": {"anchor": "created_at", "seconds": 1}},
        400,
        "invalid_value",
        "output_expires_after.seconds",
    ),
    ({"output_expires_after": {"anchor": "x", "seconds": 4000}}, 400, "invalid_value", "output_expires_after.anchor"),
    ({"input_file_id": "file-none"}, 404, "not_found", "input_file_id"),
    ({"input_file_id": 7}, 400, "invalid_value", "input_file_id"),
]


@pytest.mark.parametrize(("change", "status", "code", "param"), BAD_BATCHES)
def test_a_bad_create_is_told_in_the_clients_own_shape(
    client: openai.OpenAI, change: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    file = upload(client, requests(1))
    asked = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": WINDOW} | change
    with pytest.raises(openai.APIStatusError) as caught:
        client.post("/batches", cast_to=object, body=asked)
    error = caught.value
    assert (error.status_code, error.code, error.param) == (status, code, param)
    assert error.request_id is not None
    assert error.request_id.startswith("req_")


def test_a_model_that_is_not_registered_is_told_with_those_that_are(client: openai.OpenAI) -> None:
    for content in (requests(1, model="gpt-9"), requests(1, model="/etc"), b'{"custom_id":"a","body":{}}\n'):
        file = upload(client, content)
        with pytest.raises(openai.NotFoundError, match="there are: echo-1") as caught:
            client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window=WINDOW)
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_bad_uploads(http: httpx.Client) -> None:
    row = requests(1)
    cases = [
        ({"data": {"purpose": "batch"}, "files": {"file": ("a.jsonl", b"")}}, 400, "invalid_file", "file"),
        ({"data": {"purpose": "batch"}, "files": {"file": ("a.jsonl", b"[1]\n")}}, 400, "invalid_file", "file"),
        (
            {"data": {"purpose": "batch"}, "files": {"file": ("a", row.decode().encode("utf-16"))}},
            400,
            "invalid_file",
            "file",
        ),
        ({"data": {"purpose": "answers"}, "files": {"file": ("a.jsonl", row)}}, 400, "invalid_value", "purpose"),
        ({"data": {}, "files": {"file": ("a.jsonl", row)}}, 400, "missing_required_parameter", "purpose"),
        (
            {"data": {"purpose": "batch"}, "files": {"other": ("a.jsonl", row)}},
            400,
            "missing_required_parameter",
            "file",
        ),
        (
            {
                "data": {"purpose": "batch", "expires_after[anchor]": "created_at", "expires_after[seconds]": "9"},
                "files": {"file": ("a", row)},
            },
            400,
            "invalid_value",
            "expires_after.seconds",
        ),
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 400, "invalid_multipart", None),
        (
            {"content": b"--b\r\nbroken", "headers": {"content-type": "multipart/form-data; boundary=b"}},
            400,
            "invalid_multipart",
            None,
        ),
    ]
    for sent, status, code, param in cases:
        answer = http.post("/files", **sent)  # type: ignore[arg-type]
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["param"]) == (status, code, param), (sent, error)
    with_bom = http.post("/files", data={"purpose": "batch"}, files={"file": ("a.jsonl", b"\xef\xbb\xbf" + row)})
    assert with_bom.status_code == 200
    assert [file["id"] for file in http.get("/files").json()["data"]] == [with_bom.json()["id"]]


def test_a_field_after_the_file_counts_too(http: httpx.Client) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + requests(1)
    body += b'\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--b--\r\n'
    answer = http.post("/files", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
    assert answer.json()["bytes"] == len(requests(1))
    cut = http.post("/files", content=body[:-9], headers={"content-type": "multipart/form-data; boundary=b"})
    assert (cut.status_code, cut.json()["error"]["code"]) == (400, "invalid_multipart")


def test_another_account_sees_nothing(served: Serving, done: tuple[openai.OpenAI, Any]) -> None:
    ours, batch = done
    theirs = served.client(served.key("theirs"))
    file = upload(ours, requests(1))
    for call in (
        lambda: theirs.files.retrieve(file.id),
        lambda: theirs.files.content(file.id),
        lambda: theirs.files.delete(file.id),
        lambda: theirs.files.retrieve(batch.output_file_id),
        lambda: theirs.files.content(batch.output_file_id),
        lambda: theirs.files.delete(batch.output_file_id),
        lambda: theirs.batches.retrieve(batch.id),
        lambda: theirs.batches.cancel(batch.id),
        lambda: theirs.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window=WINDOW),
        lambda: theirs.files.retrieve("../team/files/x"),
        lambda: theirs.batches.retrieve("..%2f..%2fteam"),
    ):
        with pytest.raises(openai.NotFoundError):
            call()
    assert not list(theirs.files.list())
    assert not list(theirs.batches.list())


def test_without_a_key_nobody_comes_in(idle: Serving) -> None:
    for key in ("bk_wrong", "x", "bk_" + "a" * 43):
        with pytest.raises(openai.AuthenticationError) as caught:
            idle.client(key).models.list()
        assert caught.value.code == "invalid_api_key"
    assert httpx.get(f"{idle.url}/models").status_code == 401


def test_a_viewer_looks_and_changes_nothing(idle: Serving) -> None:
    viewer = idle.client(idle.key("team", Role.VIEWER))
    assert list(viewer.models.list())
    with pytest.raises(openai.PermissionDeniedError):
        upload(viewer, requests(1))


def test_nothing_stays_of_an_upload_that_the_client_breaks_off(idle: Serving) -> None:
    with idle.http(idle.key("breaking")) as http:

        def breaking() -> Iterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n' + requests(50)
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            http.post("/files", content=breaking(), headers={"content-type": "multipart/form-data; boundary=b"})
        assert http.get("/files").json()["data"] == []
        kept = list(idle.server.root.account_shelf("breaking").keys(""))
        assert kept == []


def test_the_example_of_the_docs(served: Serving, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(requests(3))
    script = Path(__file__).parents[2] / "docs/examples/openai_batch.py"
    own = {"OPENAI_BASE_URL": served.url, "OPENAI_API_KEY": served.key("example")}
    subprocess.run(
        [sys.executable, script, tmp_path / "in.jsonl", tmp_path / "out.jsonl"], env=os.environ | own, check=True
    )
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 3
