from pathlib import Path
from uuid import uuid4

import pytest

from batch.errors import UsageError
from batch.sdk.dataset import Dataset
from batch.workspace.store import DatasetRecord, Origin, Workspace
from connectors.stores.registry import open_store

ROWS: list[dict[str, object]] = [{"n": 1}, {"n": 2, "text": "zwölf"}, {"n": 3}]


@pytest.fixture
def workspace() -> Workspace:
    return Workspace(f"memory://ws-{uuid4().hex}", "acme")


def objects(workspace: Workspace) -> list[str]:
    return [found.key for found in open_store(workspace.uri).list("")]


def test_rows_in_memory_are_stored_by_sync_and_come_back(workspace: Workspace) -> None:
    dataset = Dataset.from_list(ROWS, workspace=workspace)
    assert list(dataset) == ROWS
    assert objects(workspace) == []
    assert dataset.sync() is dataset
    again = Dataset.from_id(dataset.id, workspace=workspace)
    assert list(again) == ROWS
    assert (again.name, again.uri) == (f"accounts/acme/datasets/{dataset.id}", f"{workspace.uri}/datasets/{dataset.id}")
    assert Dataset.from_id(dataset.name, workspace=workspace).id == dataset.id
    assert (again.record.rows, again.record.created_by) == (3, "acme")


def test_the_id_is_the_content_and_the_name(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "My Requests (1).jsonl"
    path.write_text('{"n":1}\n')
    dataset = Dataset.from_file(path, workspace=workspace)
    assert dataset.id == "dataset-cedf74272c9fc8db-my-requests--1--jsonl"
    assert Dataset.from_string('{"n":1}\n', workspace=workspace).id == "dataset-cedf74272c9fc8db-inmemory-jsonl"
    assert Dataset.from_string('{"n":2}\n', workspace=workspace).id != dataset.id


def test_a_long_file_name_still_makes_an_id(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 100}.jsonl"
    path.write_text("{}\n")
    assert list(Dataset.from_file(path, workspace=workspace).sync()) == [{}]


def test_the_same_content_is_stored_once(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"n":1}\n')
    first = Dataset.from_list([{"n": 1}], workspace=workspace).sync()
    stored = objects(workspace)
    assert Dataset.from_file(path, workspace=workspace).sync().id == first.id
    assert Dataset.from_list([{"n": 1}], workspace=workspace).sync().id == first.id
    assert objects(workspace) == stored


def test_head_gives_rows_or_a_dataset(workspace: Workspace) -> None:
    dataset = Dataset.from_list(ROWS, workspace=workspace)
    assert dataset.head(2) == ROWS[:2]
    head = dataset.head(2, as_dataset=True)
    assert isinstance(head, Dataset)
    assert list(head.sync()) == ROWS[:2]


def test_a_uri_is_read_in_place(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q,a\n1,2\n")
    (tmp_path / "more.jsonl").write_text('{"q":"3"}\n\n')
    dataset = Dataset.from_uri(str(tmp_path), workspace=workspace)
    assert list(dataset) == [{"q": "3"}, {"q": "1", "a": "2"}]
    dataset.sync()
    assert objects(workspace) == [f"datasets/{dataset.id}/dataset.json"]
    assert list(Dataset.from_id(dataset.id, workspace=workspace)) == [{"q": "3"}, {"q": "1", "a": "2"}]
    assert dataset.uri == f"file://{tmp_path}"


def test_delete_forgets_the_dataset_and_sync_stores_it_again(workspace: Workspace) -> None:
    dataset = Dataset.from_list(ROWS, workspace=workspace).sync()
    dataset.delete()
    assert objects(workspace) == []
    with pytest.raises(UsageError, match="no dataset"):
        Dataset.from_id(dataset.id, workspace=workspace)
    dataset.sync()
    assert list(Dataset.from_id(dataset.id, workspace=workspace)) == ROWS


def test_the_output_of_a_running_job_is_read_as_far_as_it_is(workspace: Workspace) -> None:
    workspace.create_dataset(DatasetRecord("out", Origin.JOB, "2026-01-31T11:30:00.000000Z", source_job_id="j"))
    assert list(Dataset.from_id("out", workspace=workspace)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"n":1}\n{broken\n', r"inmemory\.jsonl:2: not JSON"), ('{"n":1}\n\n[1]\n', r"inmemory\.jsonl:3: ")],
)
def test_a_line_that_is_no_object_is_named(text: str, said: str, workspace: Workspace) -> None:
    with pytest.raises(UsageError, match=said):
        list(Dataset.from_string(text, workspace=workspace))


def test_what_cannot_be_a_dataset_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not JSON"):
        Dataset.from_list([{"n": object()}], workspace=workspace)
    with pytest.raises(UsageError, match="no rows"):
        Dataset.from_list([], workspace=workspace)
    with pytest.raises(UsageError, match=r"expected a \.jsonl file"):
        Dataset.from_file(tmp_path / "a.parquet", workspace=workspace)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        Dataset.from_file(tmp_path / "a.jsonl", workspace=workspace)
