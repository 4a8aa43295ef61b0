"""Input, output and workspace in an S3 store: through the command line and through the SDK."""

import json
from typing import Any
from uuid import uuid4

import pytest
from stores import BUCKET
from terminal import Terminal

from batch.sdk.dataset import Dataset
from batch.sdk.job import BatchInferenceJob
from batch.spec.parameters import InferenceParameters
from connectors.stores.registry import open_store

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]


def rows(count: int) -> list[dict[str, Any]]:
    return [
        {"custom_id": f"r{n}", "body": {"messages": [{"role": "user", "content": f"number {n}"}]}} for n in range(count)
    ]


def answers(lines: list[dict[str, Any]]) -> dict[str, str]:
    return {line["custom_id"]: line["response"]["body"]["choices"][0]["message"]["content"] for line in lines}


def test_a_job_from_bucket_to_bucket(terminal: Terminal) -> None:
    folder = f"s3://{BUCKET}/{uuid4().hex}"
    store = open_store(folder)
    store.put("in/a.jsonl", "".join(json.dumps(row) + "\n" for row in rows(600)).encode() + b"not json\n")
    run = ("run", f"{folder}/in/*.jsonl", "--model", "m", "--engine", "echo", "--output", f"{folder}/out")

    ended = terminal.run(*run)
    results = terminal.run("results", f"{folder}/out")
    again = terminal.run(*run)

    assert ended.returncode == 0, ended.stderr
    assert "600 succeeded, 1 failed" in ended.stdout
    assert f"{folder}/out/manifest.json" in ended.stdout
    assert answers([json.loads(line) for line in results.stdout.splitlines()]) == {
        f"r{n}": f"number {n}" for n in range(600)
    }
    manifest = json.loads(store.get("out/manifest.json"))
    assert manifest["inputs"][0]["uri"] == f"{folder}/in/a.jsonl"
    named = {part["key"] for kind in ("results", "errors") for part in manifest[kind]}
    kept = {found.key.removeprefix("out/") for kind in ("results", "errors") for found in store.list(f"out/{kind}/")}
    assert kept == named
    assert (again.returncode, again.stdout) == (0, ended.stdout)


def test_a_job_of_a_workspace_in_a_bucket(
    person: dict[str, str], ray_cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "PYTHONPATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, person[name])
    for name in ("XDG_STATE_HOME", "BATCHCTL_WORKSPACE", "BATCHCTL_ACCOUNT_ID", "BATCHCTL_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    workspace = f"s3://{BUCKET}/{uuid4().hex}"
    dataset = Dataset.from_list(rows(20), workspace=workspace).sync()

    job = BatchInferenceJob.create(
        "m",
        dataset.id,
        output_dataset_id="answers",
        job_id="j1",
        display_name="Twenty rows",
        inference_parameters=InferenceParameters(max_tokens=5),
        engine="echo",
        workspace=workspace,
        ray_address=ray_cluster,
    )
    job.wait(timeout_s=120)

    assert job.state == "JOB_STATE_COMPLETED"
    assert answers(list(job.results())) == {f"r{n}": f"number {n}" for n in range(20)}
    assert list(job.results(errors=True)) == []
    found = BatchInferenceJob.get("j1", workspace=workspace)
    assert found is not None
    check_dictionary(BatchInferenceJob.to_dict(found), found, dataset)
    assert listed(workspace, 'state=COMPLETED AND display_name:"Twenty"') == ["j1"]
    assert listed(workspace, "state=RUNNING") == []

    BatchInferenceJob.delete("j1", workspace=workspace)

    assert BatchInferenceJob.get("j1", workspace=workspace) is None
    assert listed(workspace, "") == []
    assert len(list(Dataset.from_id("answers", workspace=workspace))) == 20


def check_dictionary(shown: dict[str, object], job: BatchInferenceJob, dataset: Dataset) -> None:
    """The names and the shapes of the Build SDK."""
    times = {name: shown.pop(name) for name in ("create_time", "update_time")}
    assert all(str(at).endswith(" UTC") for at in times.values())
    account = job.name.split("/")[1]
    assert shown == {
        "name": f"accounts/{account}/batchInferenceJobs/j1",
        "display_name": "Twenty rows",
        "created_by": account,
        "state": "JOB_STATE_COMPLETED",
        "model": "m",
        "input_dataset_id": f"accounts/{account}/datasets/{dataset.id}",
        "output_dataset_id": f"accounts/{account}/datasets/answers",
        "inference_parameters": {"max_tokens": 5},
        "job_progress": {
            "percent": 100,
            "total_input_requests": 20,
            "total_processed_requests": 20,
            "successfully_processed_requests": 20,
            "output_rows": 20,
            "input_tokens": 40,
            "output_tokens": 40,
        },
    }


def listed(workspace: str, query: str) -> list[str]:
    return [job.id for job in BatchInferenceJob.list(filter=query, workspace=workspace)]
