"""The Build SDK (fireworks-ai 0.x), unmodified and in an environment of its own, against `batchctl serve` over gRPC."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from build_sdk import build_sdk_python
from servers import free_port
from serving import MODEL, Serving, serving

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

EVERY_CALL = """
import json, time
from fireworks import BatchInferenceJob, Dataset

def body(n):
    return {"messages": [{"role": "user", "content": f"What is {n}+{n}?"}]}

rows = [{"custom_id": f"r{n}", "body": body(n)} for n in range(12)]
said = {}
dataset = Dataset.from_list(rows)
dataset.sync()
Dataset.from_list(rows).sync()  # the same content is found
said["name"] = dataset.name
said["head"] = Dataset.from_id(dataset.id).head(2)
job = BatchInferenceJob.create(
    model=MODEL, input_dataset_id=dataset.id, output_dataset_id="sdk-out", job_id="sdk-job", display_name="By the SDK",
    inference_parameters={"max_tokens": 16, "temperature": 0.5, "extra_body": json.dumps({"seed": 7})},
)
said["created"] = BatchInferenceJob.to_dict(job)
for _ in range(600):
    job = BatchInferenceJob.get("sdk-job", "team")
    shown = BatchInferenceJob.to_dict(job)
    if shown["state"] in ("JOB_STATE_COMPLETED", "JOB_STATE_FAILED"):
        break
    time.sleep(0.2)
said["ended"] = shown
said["listed"] = [each.name for each in BatchInferenceJob.list("team")]
said["results"] = Dataset.from_id("sdk-out").head(50)
said["absent"] = BatchInferenceJob.get("no-such", "team") is None
BatchInferenceJob.delete("sdk-job", "team")
BatchInferenceJob.delete("sdk-job", "team")
said["deleted"] = BatchInferenceJob.get("sdk-job", "team") is None
dataset.delete()
try:
    Dataset.from_id(dataset.id).head(1)
except ValueError as error:
    said["gone"] = str(error)
print(json.dumps(said))
"""
REFUSED = """
import grpc
from fireworks import BatchInferenceJob
try:
    BatchInferenceJob.list("team", api_key="bk_wrong")
except grpc.RpcError as error:
    print(error.code().name)
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("served") / "root", "--grpc-port", str(free_port())) as found:
        yield found


def run(found: Serving, script: str) -> str:
    gateway = f"127.0.0.1:{found.flags[1]}"
    own = {
        "FIREWORKS_GATEWAY_ADDR": gateway,
        "FIREWORKS_API_BASE_URL": found.url.removesuffix("/v1"),
        "FIREWORKS_API_KEY": found.key(),
    }
    command = [build_sdk_python(), "-c", script.replace("MODEL", repr(MODEL))]
    done = subprocess.run(command, env=os.environ | own, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_call_of_the_batch_classes(served: Serving, tmp_path: Path) -> None:
    said: dict[str, Any] = json.loads(run(served, EVERY_CALL).splitlines()[-1])

    assert said["name"].startswith("accounts/team/datasets/dataset-")
    assert [row["custom_id"] for row in said["head"]] == ["r0", "r1"]
    created = said["created"]
    assert created["name"] == "accounts/team/batchInferenceJobs/sdk-job"
    assert created["display_name"] == "By the SDK"
    assert created["model"] == f"accounts/team/models/{MODEL}"
    assert created["inference_parameters"] == {"max_tokens": 16, "temperature": 0.5, "extra_body": '{"seed":7}'}
    assert said["ended"]["state"] == "JOB_STATE_COMPLETED"
    assert said["listed"] == [created["name"]]
    assert [row["custom_id"] for row in said["results"]] == [f"r{n}" for n in range(12)]
    assert said["results"][3]["response"]["choices"][0]["message"]["content"] == "What is 3+3?"
    assert said["absent"]
    assert said["deleted"]
    assert "gone" in said


def test_a_wrong_key_is_unauthenticated(served: Serving) -> None:
    assert run(served, REFUSED).strip() == "UNAUTHENTICATED"
