import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from jobs import HOLDER, FakeClock, make_commit

from batch import BatchInferenceJob, Dataset
from batch.clock import SystemClock, parse_rfc3339
from batch.errors import JobFailed, JobGone, SpecMismatch, UsageError
from batch.jobs.lease import claim, this_process
from batch.jobs.store import JobStore
from batch.machine.launcher import Launcher
from batch.phases import Phase
from batch.planning.plan import Continuation, make_plan
from batch.records.objects import Exit, Progress, StopState
from batch.workspace.listing import Query
from batch.workspace.store import Workspace
from connectors.errors import StoreError

# A worker that answers nothing: it closes the ledger of a job whose rows a test has committed, or sleeps.
CLOSES = """
import sys
from batch.clock import SystemClock
from batch.submission.retry_failed import continue_plan
from batch.jobs.store import JobStore
from batch.jobs.lease import claim, this_process
from batch.planning.plan import make_plan
from batch.records.objects import Commit, Exit
from batch.result import Usage
from jobs import ENGINE
from pipelines.attempt.finalize import finalize

clock = SystemClock()
job = JobStore.open(sys.argv[2])
lease = claim(job, this_process(), clock=clock)
make = continue_plan if job.spec().continued_from else make_plan
plan = job.create_plan(make(job.spec()))
code = "cancelled" if job.stop() else None
for shard in plan.shards:
    rows = shard.rows
    kind = "errors" if code else "results"
    file = plan.inputs[shard.spans[0].input].uri.encode()
    error = b'{"custom_id":"r%d","error":{"code":"cancelled","file":"%s","line":%d}}'
    lines = [error % (n, file, n + 1) for n in range(rows)]
    part = job.write_part(kind, shard.index, attempt="a", lines=lines)
    job.commit(
        Commit(shard.index, 1, "a", None, part, 0, {code: rows})
        if code
        else Commit(shard.index, 1, "a", part, None, rows, {}, Usage(rows, 2 * rows))
    )
finalize(job, plan, epoch=1, engine=ENGINE, clock=clock)
lease.end(Exit.FINISHED, "")
"""
DIES = "import sys; print('Traceback: no engine'); sys.exit(1)"
FINDS_IT_HELD = "import sys; sys.exit(5)"
NEVER_STARTS = "import time; time.sleep(600)"


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    for name, text in (("closes", CLOSES), ("dies", DIES), ("held", FINDS_IT_HELD), ("never", NEVER_STARTS)):
        (folder / f"worker_{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{Path(__file__).parents[1]}")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"), "acme")


@pytest.fixture
def dataset(workspace: Workspace) -> Dataset:
    return Dataset.from_list(
        [{"custom_id": f"r{n}", "body": {"messages": []}} for n in range(3)], workspace=workspace
    ).sync()


@pytest.fixture
def job(workspace: Workspace, dataset: Dataset) -> Iterator[BatchInferenceJob]:
    """A job whose worker never gets as far as claiming it."""
    created = create(workspace, dataset, launcher=Launcher("worker_never"))
    yield created
    assert created._worker is not None
    created._worker.kill()
    created._worker.wait()


CLOSING = Launcher("worker_closes")


def create(
    workspace: Workspace, dataset: Dataset, *, model: str = "m", launcher: Launcher = CLOSING
) -> BatchInferenceJob:
    return BatchInferenceJob.create(
        model,
        dataset.id,
        job_id="j1",
        display_name="Nightly",
        inference_parameters={"max_tokens": 8, "temperature": 0.5, "extra_body": {"seed": 7}},
        workspace=workspace,
        engine="echo",
        launcher=launcher,
    )


def test_a_job_runs_to_its_end_and_its_results_come_in_order(workspace: Workspace, dataset: Dataset) -> None:
    job = create(workspace, dataset).wait(timeout_s=30, poll_s=0.05)
    assert job.state == "JOB_STATE_COMPLETED"
    assert [line["custom_id"] for line in job.results()] == ["r0", "r1", "r2"]
    assert list(job.results(errors=True)) == []
    output = Dataset.from_id(job.output_dataset_id, workspace=workspace)
    assert [line["custom_id"] for line in output] == ["r0", "r1", "r2"]


def test_the_dictionary_is_the_build_sdks(workspace: Workspace, dataset: Dataset) -> None:
    job = create(workspace, dataset).wait(timeout_s=30, poll_s=0.05)
    shown = BatchInferenceJob.to_dict(job)
    times = [shown.pop("create_time"), shown.pop("update_time")]
    assert all(
        isinstance(time, str) and time.endswith(" UTC") and len(time) == len("2026-01-31 12:00:00 UTC")
        for time in times
    )
    assert shown == {
        "name": "accounts/acme/batchInferenceJobs/j1",
        "display_name": "Nightly",
        "created_by": "acme",
        "state": "JOB_STATE_COMPLETED",
        "model": "m",
        "input_dataset_id": f"accounts/acme/datasets/{dataset.id}",
        "output_dataset_id": "accounts/acme/datasets/j1",
        "inference_parameters": {"max_tokens": 8, "temperature": 0.5, "extra_body": '{"seed":7}'},
        "job_progress": {
            "percent": 100,
            "total_input_requests": 3,
            "total_processed_requests": 3,
            "successfully_processed_requests": 3,
            "output_rows": 3,
            "input_tokens": 3,
            "output_tokens": 6,
        },
    }


def test_the_properties_of_a_job(workspace: Workspace, dataset: Dataset, job: BatchInferenceJob) -> None:
    assert (job.id, job.name) == ("j1", "accounts/acme/batchInferenceJobs/j1")
    assert (job.model, job.display_name, job.created_by) == ("m", "Nightly", "acme")
    assert (job.input_dataset_id, job.output_dataset_id) == (dataset.id, "j1")
    assert (job.state, job.url) == ("JOB_STATE_VALIDATING", workspace.dataset_uri("j1"))
    assert job.create_time == job.update_time


def test_creating_the_same_again_is_the_same_job_and_other_settings_are_refused(
    workspace: Workspace, dataset: Dataset
) -> None:
    first = create(workspace, dataset).wait(timeout_s=30, poll_s=0.05)
    again = create(workspace, dataset)
    assert (again.create_time, again.state) == (first.create_time, "JOB_STATE_COMPLETED")
    assert again.record.attempts == 1
    with pytest.raises(SpecMismatch) as caught:
        create(workspace, dataset, model="other")
    assert caught.value.differences == {"model": ("m", "other")}


def test_a_job_id_or_an_output_of_another_job_is_refused(
    workspace: Workspace, dataset: Dataset, job: BatchInferenceJob
) -> None:
    def create_as(job_id: str, output: str) -> None:
        BatchInferenceJob.create(
            "m", dataset.id, output, job_id, workspace=workspace, engine="echo", launcher=Launcher("worker_closes")
        )

    with pytest.raises(UsageError, match="output dataset 'j1' exists already"):
        create_as("j2", "j1")
    with pytest.raises(UsageError, match=f"output dataset '{dataset.id}' exists already"):
        create_as("j2", dataset.id)
    with pytest.raises(UsageError, match="Job 'j1' exists already"):
        create_as("j1", "elsewhere")
    assert BatchInferenceJob.get("j2", workspace=workspace) is None
    assert workspace.dataset("elsewhere") is None


def test_an_input_or_a_parameter_that_cannot_be_is_refused(workspace: Workspace, dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no dataset 'nope'"):
        BatchInferenceJob.create("m", "nope", workspace=workspace, engine="echo")
    with pytest.raises(UsageError, match="max_tokens"):
        BatchInferenceJob.create("m", dataset.id, inference_parameters={"max_tokens": 0}, workspace=workspace)


def test_get_takes_both_kinds_of_name_and_gives_none_for_no_job(workspace: Workspace, job: BatchInferenceJob) -> None:
    for name in (job.id, job.name):
        found = BatchInferenceJob.get(name, workspace=workspace)
        assert found is not None
        assert found.id == "j1"
    assert BatchInferenceJob.get("nope", workspace=workspace) is None


def test_a_list_is_filtered_ordered_and_paged(workspace: Workspace, dataset: Dataset) -> None:
    for job_id in ("b", "a", "c"):
        BatchInferenceJob.create(
            "m", dataset.id, job_id=job_id, workspace=workspace, engine="echo", launcher=Launcher("worker_closes")
        ).wait(timeout_s=30, poll_s=0.05)
    listed = BatchInferenceJob.list(workspace=workspace)
    assert [job.id for job in listed] == ["b", "a", "c"]
    assert [job.id for job in BatchInferenceJob.list(order_by="name desc", page_size=2, workspace=workspace)] == [
        "c",
        "b",
    ]
    assert [job.id for job in BatchInferenceJob.list(filter='job_id = "a"', workspace=workspace)] == ["a"]
    assert BatchInferenceJob.list(filter="state = JOB_STATE_FAILED", workspace=workspace) == []
    page = BatchInferenceJob.list_page(Query(page_size=2), workspace)
    rest = BatchInferenceJob.list_page(Query(page_size=2, page_token=page.next_page_token), workspace)
    assert ([job.id for job in rest.items], rest.next_page_token, rest.total_size) == (["c"], "", 3)


def test_a_job_whose_output_was_deleted_is_gone(workspace: Workspace, dataset: Dataset) -> None:
    create(workspace, dataset).wait(timeout_s=30, poll_s=0.05)
    workspace.delete_dataset("j1")
    assert BatchInferenceJob.get("j1", workspace=workspace) is None
    assert BatchInferenceJob.list(workspace=workspace) == []


def test_cancel_asks_the_worker_that_holds_the_job(workspace: Workspace, job: BatchInferenceJob) -> None:
    claim(JobStore.open(job.url), HOLDER, clock=FakeClock()).renew(Phase.RUNNING, Progress())
    job.cancel(launcher=Launcher("worker_dies"))
    assert job.state == "JOB_STATE_CANCELLING"
    stop = JobStore.open(job.url).stop()
    assert stop is not None
    assert (stop.state, stop.message) == (StopState.CANCELLED, "Cancelled by acme.")


def test_cancelling_a_job_that_nobody_works_on_closes_its_ledger(workspace: Workspace, dataset: Dataset) -> None:
    job = create(workspace, dataset, launcher=Launcher("worker_dies"))
    with pytest.raises(JobFailed, match="exit status 1"):
        job.wait(timeout_s=30, poll_s=0.05)
    job.cancel(launcher=Launcher("worker_closes"))
    assert job.wait(timeout_s=30, poll_s=0.05).state == "JOB_STATE_CANCELLED"
    assert len(list(job.results(errors=True))) == 3
    assert job.record.message == "Cancelled by acme."
    job.cancel()
    assert job.state == "JOB_STATE_CANCELLED"


def test_delete_cancels_forgets_and_keeps_the_output(workspace: Workspace, job: BatchInferenceJob) -> None:
    BatchInferenceJob.delete("j1", workspace=workspace)
    BatchInferenceJob.delete("j1", workspace=workspace)
    assert BatchInferenceJob.get("j1", workspace=workspace) is None
    stop = JobStore.open(job.url).stop()
    assert stop is not None
    assert stop.message == "Deleted by acme."
    assert workspace.dataset("j1") is not None


def test_cancelling_a_job_whose_worker_was_killed_here_closes_its_ledger_at_once(
    workspace: Workspace, dataset: Dataset
) -> None:
    job = create(workspace, dataset, launcher=Launcher("worker_dies"))
    killed = subprocess.Popen(["true"])
    killed.wait()
    claim(JobStore.open(job.url), replace(this_process(), pid=killed.pid), clock=SystemClock())
    looking_on = BatchInferenceJob(JobStore.open(job.url), workspace)

    looking_on.cancel(launcher=CLOSING)

    assert looking_on.wait(timeout_s=30, poll_s=0.05).state == "JOB_STATE_CANCELLED"


def test_waiting_for_a_worker_that_died_names_its_log(workspace: Workspace, dataset: Dataset) -> None:
    job = create(workspace, dataset, launcher=Launcher("worker_dies"))
    with pytest.raises(JobFailed, match=r"exit status 1 \(log: (.*)\)") as caught:
        job.wait(timeout_s=30, poll_s=0.05)
    log = Path(str(caught.value).split("(log: ")[1].split(")")[0])
    assert "no engine" in log.read_text()


def test_waiting_goes_on_when_another_worker_holds_the_job(workspace: Workspace, dataset: Dataset) -> None:
    job = create(workspace, dataset, launcher=Launcher("worker_held"))
    claim(JobStore.open(job.url), HOLDER, clock=FakeClock()).renew(Phase.RUNNING, Progress())
    with pytest.raises(TimeoutError, match="j1 is still VALIDATING"):
        job.wait(timeout_s=0.8, poll_s=0.05)


def test_a_failed_attempt_ends_the_wait_until_the_job_is_resumed(workspace: Workspace, dataset: Dataset) -> None:
    job = create(workspace, dataset, launcher=Launcher("worker_held"))
    claim(JobStore.open(job.url), HOLDER, clock=FakeClock()).end(Exit.FAILED, "No GPU.")
    waited = job.wait(timeout_s=30, poll_s=0.05)
    assert (waited.state, waited.record.message) == ("JOB_STATE_FAILED", "No GPU.")
    job.resume(launcher=Launcher("worker_closes"))
    assert job.wait(timeout_s=30, poll_s=0.05).state == "JOB_STATE_COMPLETED"
    assert job.record.attempts == 2


def test_waiting_has_a_limit(job: BatchInferenceJob) -> None:
    with pytest.raises(TimeoutError, match=r"j1 is still VALIDATING after 0\.2 s"):
        job.wait(timeout_s=0.2, poll_s=0.05)


def test_a_job_that_nobody_works_on_is_not_waited_for(workspace: Workspace, job: BatchInferenceJob) -> None:
    clock = FakeClock()
    clock.sleep((parse_rfc3339(job.create_time) - clock.now()).total_seconds())
    claim(JobStore.open(job.url), HOLDER, clock=clock)
    looking_on = BatchInferenceJob(JobStore.open(job.url), workspace, clock)
    with pytest.raises(JobFailed, match="nobody works on it, process 4242 on node-1 has been silent since"):
        looking_on.wait(timeout_s=60)


def cancelled(workspace: Workspace, dataset: Dataset) -> BatchInferenceJob:
    """A job none of whose rows was answered."""
    job = create(workspace, dataset, launcher=Launcher("worker_dies"))
    assert job._worker is not None
    job._worker.wait()
    job.cancel(launcher=Launcher("worker_closes"))
    return job.wait(timeout_s=30, poll_s=0.05)


def test_a_job_continues_the_failed_rows_of_another(workspace: Workspace, dataset: Dataset) -> None:
    old = cancelled(workspace, dataset)

    job = BatchInferenceJob.continue_from(
        old.name,
        ["cancelled"],
        job_id="j2",
        display_name="Rest",
        workspace=workspace,
        launcher=Launcher("worker_closes"),
    ).wait(timeout_s=30, poll_s=0.05)

    assert (job.id, job.display_name, job.output_dataset_id) == ("j2", "Rest", "j2")
    assert (job.model, job.input_dataset_id) == (old.model, dataset.id)
    assert job.continued_from_job_name == old.name
    assert BatchInferenceJob.to_dict(job)["continued_from_job_name"] == old.name
    assert len(list(job.results())) == 3
    manifest = job.record.manifest
    assert manifest is not None
    assert manifest.continued_from == Continuation("j1", old.url, succeeded=0, retried=3, left_by_code={})
    assert (old.state, old.continued_from_job_name) == ("JOB_STATE_CANCELLED", "")
    assert "continued_from_job_name" not in BatchInferenceJob.to_dict(old)


def test_a_job_without_what_it_would_continue_is_not_made(workspace: Workspace, dataset: Dataset) -> None:
    with pytest.raises(UsageError, match="no batch inference job 'nope'"):
        BatchInferenceJob.continue_from("nope", workspace=workspace)
    old = cancelled(workspace, dataset)
    with pytest.raises(UsageError, match=r"failed with timeout; its rows failed with: cancelled 3"):
        BatchInferenceJob.continue_from(old.id, ["timeout"], job_id="j2", workspace=workspace)
    assert BatchInferenceJob.get("j2", workspace=workspace) is None
    assert workspace.dataset("j2") is None


def test_a_job_of_an_id_that_was_deleted_with_its_output_has_nothing_of_the_old_one(
    workspace: Workspace, dataset: Dataset, job: BatchInferenceJob
) -> None:
    """The old one's attempt goes on meanwhile, under the same number as the new one's."""
    old = JobStore.open(job.url)
    lease = claim(old, HOLDER, clock=FakeClock())
    old.create_plan(make_plan(old.spec()))
    BatchInferenceJob.delete("j1", workspace=workspace)
    Dataset.from_id("j1", workspace=workspace).delete()
    other = Dataset.from_list(
        [{"custom_id": f"s{n}", "body": {"messages": []}} for n in range(3)], workspace=workspace
    ).sync()
    new = create(workspace, other, launcher=Launcher("worker_closes"))

    assert not lease.renew(Phase.RUNNING, Progress())
    with pytest.raises(JobGone):
        old.commit(make_commit(0, 3))
    with pytest.raises((JobGone, StoreError)):
        old.write_part("results", 0, attempt="e1", lines=[b"{}"])
    with pytest.raises(JobGone):
        lease.end(Exit.FAILED, "")
    with pytest.raises(JobGone):
        job.resume(launcher=Launcher("worker_never"))
    manifest = new.wait(timeout_s=30, poll_s=0.05).record.manifest
    assert manifest is not None
    assert (manifest.inputs[0].uri, manifest.attempts) == (f"{other.uri}/inmemory.jsonl", 1)
