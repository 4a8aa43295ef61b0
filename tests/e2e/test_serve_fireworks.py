"""Fireworks' own client 1.x, unmodified, against `batchctl serve`: every call of datasets and batch inference jobs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fireworks
import httpx
import pytest
from fireworks import Fireworks
from serving import MODEL, Serving, idle, served

from batch.server.admin.keys import Role

__all__ = ["idle", "served"]
pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

ENDED = ("JOB_STATE_COMPLETED", "JOB_STATE_FAILED", "JOB_STATE_EXPIRED", "JOB_STATE_CANCELLED")


def rows(number: int) -> bytes:
    lines = (
        {"custom_id": f"r{n}", "body": {"messages": [{"role": "user", "content": f"What is {n}+{n}?"}]}}
        for n in range(number)
    )
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def client_of(found: Serving, account: str = "team") -> Fireworks:
    return Fireworks(api_key=found.key(account), account_id=account, base_url=found.url.removesuffix("/v1"))


@pytest.fixture
def client(idle: Serving, request: pytest.FixtureRequest) -> Iterator[Fireworks]:
    """Of an account of the test's own."""
    with client_of(idle, f"a{abs(hash(request.node.name))}") as found:
        yield found


def make(client: Fireworks, dataset_id: str, content: bytes) -> None:
    client.datasets.create(dataset_id=dataset_id, dataset={"example_count": str(content.count(b"\n"))})
    client.datasets.upload(dataset_id, file=("in.jsonl", content))


def names(addresses: dict[str, str] | None) -> dict[str, str]:
    return {name.rpartition("/")[2]: address for name, address in (addresses or {}).items()}


def own_id(found: Any) -> str:
    return str(found.name).rpartition("/")[2]


def until_ended(client: Fireworks, job_id: str) -> Any:
    for _ in range(300):
        job = client.batch_inference_jobs.get(job_id)
        if job.state in ENDED:
            return job
        time.sleep(0.3)
    raise AssertionError(job)


def test_a_job_from_upload_to_parsed_results(served: Serving) -> None:
    client = client_of(served)
    make(client, "in-1", rows(20) + b"no json\n")
    job = client.batch_inference_jobs.create(
        batch_inference_job_id="job-1",
        model=f"accounts/team/models/{MODEL}",
        input_dataset_id="accounts/team/datasets/in-1",
        output_dataset_id="out-1",
        display_name="First",
        inference_parameters={"max_tokens": 64, "temperature": 0.5, "extra_body": '{"seed": 7}'},
        extra_body={"systemPrompt": "Be brief."},
    )
    assert job.name == "accounts/team/batchInferenceJobs/job-1"
    assert (job.output_dataset_id, job.display_name) == ("accounts/team/datasets/out-1", "First")
    assert job.inference_parameters is not None
    assert job.inference_parameters.to_dict() == {"maxTokens": 64, "temperature": 0.5, "extraBody": '{"seed":7}'}

    job = until_ended(client, "job-1")
    assert job.state == "JOB_STATE_COMPLETED"
    progress = job.job_progress
    assert (progress.total_input_requests, progress.successfully_processed_requests, progress.failed_requests) == (
        21,
        20,
        1,
    )
    found = names(client.datasets.get_download_endpoint("out-1").filename_to_signed_urls)
    results = [json.loads(line) for line in httpx.get(found["BIJOutputSet.jsonl"]).text.splitlines()]
    assert [result["custom_id"] for result in results] == [f"r{n}" for n in range(20)]
    assert results[3]["response"]["choices"][0]["message"]["content"] == "What is 3+3?"
    assert all(result.keys() == {"custom_id", "response"} for result in results)
    (error,) = [json.loads(line) for line in httpx.get(found["error-data"]).text.splitlines()]
    assert (error["custom_id"], error["error"]["code"], error["error"]["line"]) == (None, "malformed_json", 21)
    assert served.root not in json.dumps(error) + job.to_json()
    assert client.datasets.get("out-1").source_job_name == job.name

    again = client.batch_inference_jobs.create(
        batch_inference_job_id="job-2",
        continued_from_job_name="job-1",
        output_dataset_id="out-2",
    )
    assert again.continued_from_job_name == job.name
    again = until_ended(client, "job-2")
    assert (again.state, again.job_progress.failed_requests) == ("JOB_STATE_COMPLETED", 1)
    lineage = client.datasets.get_download_endpoint("out-2", download_lineage=True).filename_to_signed_urls or {}
    assert {name.split("/")[1] for name in lineage} == {"out-1", "out-2"}

    client.batch_inference_jobs.delete("job-1")
    with pytest.raises(fireworks.NotFoundError):
        client.batch_inference_jobs.get("job-1")
    assert client.datasets.get("out-1").state == "READY"


def test_a_dataset_by_signed_addresses(client: Fireworks) -> None:
    content = {"a.jsonl": rows(3), "b": rows(5)}
    client.datasets.create(dataset_id="many", dataset={"display_name": "Two files"})
    assert client.datasets.get("many").state == "UPLOADING"
    sizes = {name: str(len(text)) for name, text in content.items()}
    addresses = client.datasets.get_upload_endpoint("many", filename_to_size=sizes).filename_to_signed_urls or {}
    with pytest.raises(fireworks.BadRequestError, match="has not come"):
        client.datasets.validate_upload("many", body={})
    for name, text in content.items():
        sent = {"Content-Type": "application/octet-stream", "X-Goog-Content-Length-Range": f"{len(text)},{len(text)}"}
        for _ in range(2):  # the same again is fine
            assert httpx.put(addresses[name], content=text, headers=sent).status_code == 200
    other = httpx.put(addresses["a.jsonl"], content=b"{" + b" " * (len(content["a.jsonl"]) - 1))
    assert other.status_code == 409
    short = httpx.put(addresses["a.jsonl"], content=b"{}")
    assert short.status_code == 400
    client.datasets.validate_upload("many", body={})
    found = client.datasets.get("many")
    assert (found.state, found.display_name) == ("READY", "Two files")
    read = client.datasets.get_download_endpoint("many").filename_to_signed_urls or {}
    assert {name: httpx.get(address).content for name, address in read.items()} == {
        "a.jsonl": content["a.jsonl"],
        "b.jsonl": content["b"],
    }
    assert client.datasets.update("many", display_name="Renamed").display_name == "Renamed"
    client.datasets.delete("many")
    client.datasets.delete("many")
    with pytest.raises(fireworks.NotFoundError):
        client.datasets.get("many")
    assert httpx.get(read["a.jsonl"]).status_code == 404


def test_a_signature_is_for_one_thing_and_a_while(client: Fireworks) -> None:
    make(client, "signed", rows(1))
    address = (client.datasets.get_download_endpoint("signed").filename_to_signed_urls or {})["in.jsonl"]
    assert httpx.get(address).content == rows(1)
    url = urlsplit(address)
    for wrong in (
        address.replace("in.jsonl", "other.jsonl"),
        address.replace("signed", "signe"),
        address.replace(url.path.split("/")[3], "other"),
        address.replace("exp=", "exp=9"),
        address.replace("exp=", "exp=x"),
        address[:-1] + ("0" if address[-1] != "0" else "1"),
        address.replace("size=", "size=1"),
        address.partition("?")[0],
    ):
        assert httpx.get(wrong).status_code in (400, 403), wrong
    assert httpx.put(address, content=rows(1)).status_code == 403


def test_lists_have_filters_orders_and_pages(client: Fireworks) -> None:
    for number in range(5):
        make(client, f"in-{number}", rows(number + 1))
        client.batch_inference_jobs.create(
            batch_inference_job_id=f"job-{number}", model=MODEL, input_dataset_id=f"in-{number}"
        )
    assert [own_id(job) for job in client.batch_inference_jobs.list(page_size=2)] == [f"job-{n}" for n in range(5)]
    found = client.batch_inference_jobs.list(order_by="create_time desc", page_size=2)
    assert [own_id(job) for job in found.batch_inference_jobs or []] == ["job-4", "job-3"]
    assert (found.to_dict()["totalSize"], bool(found.next_page_token)) == (5, True)
    assert len(list(client.batch_inference_jobs.list(filter='state="JOB_STATE_PENDING"'))) == 5
    assert list(client.batch_inference_jobs.list(filter='state="JOB_STATE_COMPLETED"')) == []
    ready = client.datasets.list(filter='state="READY"', page_size=2)
    assert [own_id(each) for each in ready] == [f"in-{n}" for n in range(5)]
    with pytest.raises(fireworks.BadRequestError, match="colour"):
        client.datasets.list(filter="colour=red")


def test_the_same_create_is_one_job_and_another_under_its_id_is_refused(client: Fireworks) -> None:
    make(client, "in", rows(2))
    asked: dict[str, Any] = {"model": MODEL, "input_dataset_id": "in"}
    first = client.batch_inference_jobs.create(batch_inference_job_id="one", **asked)
    assert client.batch_inference_jobs.create(batch_inference_job_id="one", **asked).create_time == first.create_time
    with pytest.raises(fireworks.ConflictError) as caught:
        client.batch_inference_jobs.create(batch_inference_job_id="one", display_name="else", **asked)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert caught.value.body == {"code": 6, "message": caught.value.body["message"], "details": []}  # type: ignore[index]
    unnamed = client.batch_inference_jobs.create(**asked)
    again = client.batch_inference_jobs.create(**asked, extra_headers={"x-stainless-retry-count": "1"})
    assert again.name == unnamed.name


BAD_JOBS: list[tuple[dict[str, Any], int]] = [
    ({"model": "no-such"}, 400),
    ({"model": "/etc/passwd"}, 400),
    ({"input_dataset_id": "no-such"}, 404),
    ({"input_dataset_id": "accounts/other/datasets/in"}, 404),
    ({"inference_parameters": {"temperature": 9}}, 400),
    ({"inference_parameters": {"max_tokens": -1}}, 400),
    ({"output_dataset_id": "in"}, 400),
    ({"output_dataset_id": "../x"}, 400),
    ({"continued_from_job_name": "no-such"}, 404),
    ({"extra_body": {"priority": "high"}}, 400),
    ({"extra_body": {"maxJobDuration": "soon"}}, 400),
    ({"batch_inference_job_id": "a b"}, 400),
]


@pytest.mark.parametrize(("change", "status"), BAD_JOBS)
def test_a_bad_create_is_told_in_the_clients_own_shape(idle: Serving, change: dict[str, Any], status: int) -> None:
    client = client_of(idle, "bad")
    if not list(client.datasets.list()):
        make(client, "in", rows(1))
    asked = {"model": MODEL, "input_dataset_id": "in"} | change
    with pytest.raises(fireworks.APIStatusError) as caught:
        client.batch_inference_jobs.create(**asked)
    body: Any = caught.value.body
    assert caught.value.status_code == status
    assert body.keys() == {"code", "message", "details"}
    assert idle.root not in str(body)


def test_whose_things_they_are(idle: Serving) -> None:
    ours, theirs = client_of(idle, "ours"), client_of(idle, "theirs")
    make(ours, "secret", rows(1))
    foreign = Fireworks(api_key=theirs.api_key, account_id="ours", base_url=str(theirs.base_url))
    calls: tuple[Callable[[], object], ...] = (
        lambda: theirs.datasets.get("secret"),
        lambda: foreign.datasets.get("secret"),
        lambda: foreign.datasets.delete("secret"),
        lambda: theirs.datasets.get("accounts/ours/datasets/secret"),
        foreign.batch_inference_jobs.list,
    )
    for call in calls:
        with pytest.raises(fireworks.NotFoundError):
            call()
    with pytest.raises(fireworks.PermissionDeniedError) as caught:
        Fireworks(api_key="wrong", account_id="ours", base_url=str(ours.base_url)).datasets.list()
    body: Any = caught.value.body
    assert body["error"]["code"] == "UNAUTHORIZED"
    with pytest.raises(fireworks.BadRequestError, match="admin"):
        ours.datasets.create(dataset_id="files", dataset={"external_url": "/etc/passwd"})


def test_an_admin_makes_users_and_their_keys(idle: Serving) -> None:
    admin = Fireworks(
        api_key=idle.key("led", Role.ADMIN), account_id="led", base_url=idle.url.removesuffix("/v1"), max_retries=0
    )
    made = admin.users.create(user_id="ada", role="user", display_name="Ada", email="ada@example.org")
    assert (made.name, made.role) == ("accounts/led/users/ada", "user")
    assert admin.users.update("ada", role="viewer").role == "viewer"
    assert [own_id(user) for user in admin.users.list()] == ["ada"]
    key = admin.api_keys.create("ada", api_key={"display_name": "laptop"})
    assert key.key is not None
    (listed,) = admin.api_keys.list("ada")
    assert (listed.key_id, listed.key, listed.prefix) == (key.key_id, None, key.key[:8])
    ada = Fireworks(api_key=key.key, account_id="led", base_url=str(admin.base_url), max_retries=0)
    assert list(ada.datasets.list()) == []
    with pytest.raises(fireworks.PermissionDeniedError, match="look, but not change"):
        ada.datasets.create(dataset_id="x", dataset={})
    with pytest.raises(fireworks.PermissionDeniedError, match="an admin's business"):
        ada.api_keys.list("ada")
    with pytest.raises(fireworks.BadRequestError, match="Expected one of admin"):
        admin.users.update("ada", role="king")
    assert key.key_id is not None
    admin.api_keys.delete("ada", key_id=key.key_id)
    with pytest.raises(fireworks.PermissionDeniedError):
        ada.datasets.list()


def test_models_accounts_and_what_is_not_built(client: Fireworks, idle: Serving) -> None:
    assert [own_id(model) for model in client.models.list()] == [MODEL]
    with pytest.raises(fireworks.APIStatusError) as caught:
        client.deployments.list()
    assert caught.value.status_code == 501
    key = idle.key("verified")
    verified = httpx.get(f"{str(client.base_url).rstrip('/')}/verifyApiKey", headers={"authorization": f"Bearer {key}"})
    assert verified.headers["x-fireworks-account-id"] == "verified"


def test_the_example_of_the_docs(served: Serving, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(rows(3))
    script = Path(__file__).parents[2] / "docs/examples/fireworks_batch.py"
    own = {
        "FIREWORKS_BASE_URL": served.url.removesuffix("/v1"),
        "FIREWORKS_API_KEY": served.key("example"),
        "FIREWORKS_ACCOUNT_ID": "example",
    }
    command = [sys.executable, str(script), str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), MODEL]
    subprocess.run(command, env=os.environ | own, check=True)
    assert len((tmp_path / "out.jsonl").read_bytes().splitlines()) == 3
