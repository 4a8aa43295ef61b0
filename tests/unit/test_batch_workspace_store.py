from uuid import uuid4

import pytest

from batch.errors import JobFailed, UsageError
from batch.workspace.store import DatasetFile, DatasetRecord, JobPointer, Origin, Workspace
from connectors.stores.registry import open_store

AT = "2026-01-31T11:30:00.000000Z"


@pytest.fixture
def workspace() -> Workspace:
    return Workspace(f"memory://ws-{uuid4().hex}/team", "acme")


def stored(dataset_id: str = "d1") -> DatasetRecord:
    return DatasetRecord(dataset_id, Origin.STORED, AT, files=(DatasetFile("a.jsonl", 3),), rows=1)


def test_a_dataset_is_its_files_and_its_record(workspace: Workspace) -> None:
    assert workspace.dataset("d1") is None
    assert workspace.create_dataset(stored(), {"a.jsonl": b"{}\n"}) == stored()
    assert workspace.dataset("d1") == stored()
    assert workspace.inputs_of("d1") == (f"{workspace.uri}/datasets/d1/a.jsonl",)
    assert open_store(workspace.dataset_uri("d1")).get("a.jsonl") == b"{}\n"


def test_the_first_record_stands_and_other_bytes_are_refused(workspace: Workspace) -> None:
    workspace.create_dataset(stored(), {"a.jsonl": b"{}\n"})
    later = DatasetRecord("d1", Origin.STORED, "2027-01-01T00:00:00.000000Z")
    assert workspace.create_dataset(later, {"a.jsonl": b"{}\n"}) == stored()
    with pytest.raises(JobFailed, match="other bytes"):
        workspace.create_dataset(stored(), {"a.jsonl": b"[]\n"})


def test_datasets_are_listed_without_their_files(workspace: Workspace) -> None:
    for dataset_id in ("b", "a", "a-2"):
        workspace.create_dataset(stored(dataset_id), {"a.jsonl": b"{}\n"})
    open_store(workspace.dataset_uri("a")).create("results/dataset.json", b"{}")
    assert sorted(record.dataset_id for record in workspace.datasets()) == ["a", "a-2", "b"]
    assert [record.dataset_id for record in workspace.datasets("a-")] == ["a-2"]


def test_an_external_dataset_is_read_where_it_lies(workspace: Workspace) -> None:
    workspace.create_dataset(DatasetRecord("d1", Origin.EXTERNAL, AT, external_uri="s3://b/day=1/*.parquet"))
    assert workspace.inputs_of("d1") == ("s3://b/day=1/*.parquet",)


def test_the_output_of_a_job_is_ready_when_the_job_ended(workspace: Workspace) -> None:
    workspace.create_dataset(DatasetRecord("out", Origin.JOB, AT, source_job_id="j1"))
    with pytest.raises(UsageError, match="'out' is not ready: its job 'j1' has not ended"):
        workspace.inputs_of("out")
    open_store(workspace.dataset_uri("out")).create("manifest.json", b"{}")
    assert workspace.inputs_of("out") == (f"{workspace.uri}/datasets/out/results",)


def test_an_unknown_dataset_is_named(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="no dataset 'nope'"):
        workspace.inputs_of("nope")


def test_renaming_changes_the_label_only(workspace: Workspace) -> None:
    assert workspace.rename_dataset("d1", "Mine") is None
    workspace.create_dataset(stored(), {"a.jsonl": b"{}\n"})
    workspace.rename_dataset("d1", "Mine")
    renamed = workspace.dataset("d1")
    assert renamed is not None
    assert (renamed.display_name, renamed.files) == ("Mine", stored().files)


def test_deleting_takes_every_object_of_that_dataset_only(workspace: Workspace) -> None:
    for dataset_id in ("d", "d-2"):
        workspace.create_dataset(stored(dataset_id), {"a.jsonl": b"{}\n"})
    workspace.delete_dataset("d")
    workspace.delete_dataset("d")
    assert [found.key for found in open_store(workspace.uri).list("datasets/")] == [
        "datasets/d-2/a.jsonl",
        "datasets/d-2/dataset.json",
    ]


def test_jobs_are_found_by_their_pointers(workspace: Workspace) -> None:
    assert workspace.job("j1") is None
    pointer = JobPointer("j1", "memory://elsewhere/out")
    assert workspace.create_job(pointer) == pointer
    assert workspace.create_job(JobPointer("j1", "memory://other/out")) == pointer
    assert workspace.job("j1") == pointer
    assert list(workspace.jobs()) == [pointer]
    workspace.delete_job("j1")
    assert list(workspace.jobs()) == []


@pytest.mark.parametrize("bad", ["", "a/b", "..", "a b", "x" * 65, "é", "a\n"])
def test_what_is_no_id_is_refused(bad: str, workspace: Workspace) -> None:
    for use in (workspace.dataset, workspace.job, workspace.dataset_uri, workspace.delete_dataset):
        with pytest.raises(UsageError):
            use(bad)


def test_names_are_bare_or_full(workspace: Workspace) -> None:
    assert workspace.full_name("datasets", "d1") == "accounts/acme/datasets/d1"
    assert workspace.bare_id("datasets", "accounts/acme/datasets/d1") == "d1"
    assert workspace.bare_id("datasets", "d1") == "d1"


@pytest.mark.parametrize(
    "bad", ["accounts/other/datasets/d1", "accounts/acme/batchInferenceJobs/d1", "datasets/d1", "/d1"]
)
def test_a_name_of_another_account_or_kind_is_refused(bad: str, workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="expected an id or accounts/acme/datasets/<id>"):
        workspace.bare_id("datasets", bad)
