"""Batch inference jobs as the Build SDK names them, over a workspace and a worker process.

Knows nothing of engines and of how a worker does its work.
"""

from __future__ import annotations

import builtins
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self, Unpack
from uuid import uuid4

import orjson

from batch.clock import Clock, SystemClock, parse_rfc3339, rfc3339
from batch.errors import JobFailed, JobNotFound, UsageError
from batch.exit_codes import ExitCode
from batch.jobs.lease import this_process, why_idle
from batch.jobs.store import JobStore
from batch.machine.launcher import Launcher, log_path
from batch.machine.resources import check_attempt, check_installed
from batch.records.objects import Stop, StopState
from batch.records.state import HEARTBEAT_TTL_S, JobRecord, JobState
from batch.sdk.first_look import LENIENT
from batch.sdk.job_fields import JOBS, as_dict, job_name, wire_state
from batch.sdk.open_workspace import open_workspace
from batch.spec.engine_arguments import check_engine_args
from batch.spec.job_options import SpecOptions, spec_fields
from batch.spec.job_spec import JobSpec
from batch.spec.parameters import InferenceParameters
from batch.submission.changed_inputs import refuse_other_inputs
from batch.submission.first_look import FirstLook
from batch.submission.prepare import check_request
from batch.submission.retry_failed import NO_CHANGES, Changes, continue_plan, continue_spec
from batch.submission.submit import submit
from batch.workspace.listing import DEFAULT_PAGE_SIZE, Page, Query
from batch.workspace.store import JobPointer, Workspace

READERS = 16
WORKERS = Launcher()


class BatchInferenceJob:
    """A job of a workspace. `record`, `state` and `update_time` are read from its store each time."""

    def __init__(self, job_store: JobStore, workspace: Workspace, clock: Clock | None = None) -> None:
        self._job_store = job_store
        self._workspace = workspace
        self._spec = job_store.spec()
        self._clock = clock or SystemClock()
        self._worker: subprocess.Popen[bytes] | None = None
        self._log: Path | None = None

    # --- the Build SDK's class methods ---

    @classmethod
    def create(  # noqa: PLR0913, PLR0917  # the Build SDK's parameters, in its order, then ours
        cls,
        model: str,
        input_dataset_id: str,
        output_dataset_id: str | None = None,
        job_id: str | None = None,
        display_name: str | None = None,
        inference_parameters: InferenceParameters | Mapping[str, object] | None = None,
        api_key: str | None = None,  # noqa: ARG003  # a workspace is reached with the store's own credentials
        *,
        workspace: str | Workspace | None = None,
        engine: str = "vllm",
        engine_args: Mapping[str, object] | None = None,
        replicas: str | None = None,
        ray_address: str | None = None,
        launcher: Launcher = WORKERS,
        first_look: FirstLook = LENIENT,
        **options: Unpack[SpecOptions],
    ) -> Self:
        """Store the job and start a worker in the background. The same id and settings again: the same job, resumed.

        What can be known to be wrong is told before anything is stored. Rows that all fail are no error unless
        `first_look` says so: they are error lines then, and a warning says why. UsageError: no such model or input, an
        input that has changed since the job read it, or an output dataset that is not this job's; SpecMismatch: other
        settings.
        """
        opened = open_workspace(workspace)
        spec = requested_spec(
            opened,
            model,
            input_dataset_id,
            output_dataset_id,
            job_id,
            display_name,
            inference_parameters,
            engine=engine,
            engine_args=engine_args,
            **options,
        )
        check_attempt(spec, replicas=replicas, ray_address=ray_address)
        if opened.job(spec.job_id) is None:
            check_request(spec, first_look)
        job = cls(submit(spec, opened), opened)
        refuse_other_inputs(job._job_store, spec)
        job.resume(replicas=replicas, ray_address=ray_address, launcher=launcher)
        return job

    @classmethod
    def continue_from(  # noqa: PLR0913  # those of `create` that do not follow from the old job
        cls,
        continued_from_job_name: str,
        retry_codes: Iterable[str] = (),
        *,
        output_dataset_id: str | None = None,
        job_id: str | None = None,
        display_name: str | None = None,
        changes: Changes = NO_CHANGES,
        workspace: str | Workspace | None = None,
        replicas: str | None = None,
        ray_address: str | None = None,
        launcher: Launcher = WORKERS,
    ) -> Self:
        """Store and start a job that runs the failed rows of an ended one, by its id or full name, and no others.

        `retry_codes`: only the rows that failed with one of these; none: all. Model, input, engine and parameters are
        the old job's, but for the `changes`. UsageError: no such job or code, the job has not ended, no row failed so,
        an input has changed.
        """
        opened = open_workspace(workspace)
        old = cls.get(continued_from_job_name, workspace=opened)
        if old is None:
            raise UsageError(f"There is no batch inference job {continued_from_job_name!r} in {opened.uri}.")
        own_id, output_id = _ids(opened, job_id, output_dataset_id)
        spec = continue_spec(
            old._job_store,
            retry_codes,
            job_id=own_id,
            output=opened.dataset_uri(output_id),
            created_at=rfc3339(SystemClock().now()),
            changes=changes,
        )
        spec = replace(spec, display_name=display_name or "", created_by=opened.account_id, output_dataset_id=output_id)
        continue_plan(spec)  # refuses here what the worker would refuse
        check_attempt(spec, replicas=replicas, ray_address=ray_address)
        job = cls(submit(spec, opened), opened)
        job.resume(replicas=replicas, ray_address=ray_address, launcher=launcher)
        return job

    @classmethod
    def get(cls, job_id: str, account: str | None = None, *, workspace: str | Workspace | None = None) -> Self | None:
        """The job by its id or full name; None when there is none."""
        opened = open_workspace(workspace, account)
        pointer = opened.job(opened.bare_id("batchInferenceJobs", job_id))
        return None if pointer is None else cls._at(pointer, opened)

    @classmethod
    def list(
        cls,
        account: str | None = None,
        page_size: int = DEFAULT_PAGE_SIZE,
        filter: str | None = None,  # noqa: A002  # the name that clients use
        order_by: str | None = None,
        *,
        workspace: str | Workspace | None = None,
    ) -> builtins.list[Self]:
        """The first page of jobs, by creation unless `order_by` says otherwise; `list_page` goes on."""
        query = Query(filter or "", order_by or "", page_size)
        return cls.list_page(query, open_workspace(workspace, account)).items

    @classmethod
    def list_page(cls, query: Query, workspace: Workspace) -> Page[Self]:
        """One page of jobs, with the token of the next one. UsageError for a bad filter, order or token."""
        with ThreadPoolExecutor(READERS) as readers:
            found = readers.map(lambda pointer: cls._at(pointer, workspace), workspace.jobs())
            jobs = {job.id: job for job in found if job is not None}
            records = readers.map(lambda job: job.record, jobs.values())
            page = JOBS.page(records, query)
        return Page([jobs[record.job_id] for record in page.items], page.next_page_token, page.total_size)

    @classmethod
    def delete(cls, job_id: str, account: str | None = None, *, workspace: str | Workspace | None = None) -> None:
        """Cancel the job if it has not ended, and forget it; its output dataset stays. Absent is fine."""
        opened = open_workspace(workspace, account)
        own_id = opened.bare_id("batchInferenceJobs", job_id)
        job = cls.get(own_id, workspace=opened)
        if job is not None:
            job._request_stop("Deleted")
        opened.delete_job(own_id)

    @staticmethod
    def to_dict(job: BatchInferenceJob) -> dict[str, object]:
        """The job as the Build SDK shows it: set fields only, full names, `JOB_STATE_...`, times to the second."""
        return as_dict(job.record, job._workspace)

    # --- what a job can do ---

    def resume(
        self, *, replicas: str | None = None, ray_address: str | None = None, launcher: Launcher = WORKERS
    ) -> None:
        """Start a worker in the background, unless the job has ended. It leaves a job that another one holds alone.

        JobGone: its output was deleted.
        """
        if self._job_store.manifest() is not None:
            return
        self._job_store.check_in_place()
        check_installed(self._spec, ray_address=ray_address)
        attempt = max(self._job_store.epoch_numbers(), default=0) + 1
        self._log = log_path(self._job_store.uri, job_id=self.id, attempt=attempt)
        self._worker = launcher.start(
            self._job_store.uri, foreground=False, replicas=replicas, ray_address=ray_address, log=self._log
        )

    def cancel(self, *, launcher: Launcher = WORKERS) -> None:
        """Ask the job to end; rows that are done are kept, the others end as `cancelled`. No-op on an ended job.

        When nobody works on it, a worker is started to close its ledger.
        """
        if not self._request_stop("Cancelled"):
            return
        is_idle = why_idle(self.record, this_process()) is not None
        if is_idle and (self._worker is None or self._worker.poll() is not None):
            self.resume(launcher=launcher)

    def wait(self, timeout_s: float | None = None, poll_s: float = 1.0) -> Self:
        """Return when the job has ended, in whatever state. JobFailed: nobody works on it. TimeoutError: it goes on."""
        began_s = self._clock.monotonic()
        while True:
            # Before the record is read: what a worker wrote last is then seen.
            exit_status = self._worker.poll() if self._worker else None
            record = self.record
            if record.manifest is not None:
                return self
            if exit_status == ExitCode.HELD:
                self._worker = None
            elif exit_status is not None or self._worker is None:
                if record.state is JobState.FAILED:
                    return self
                self._check_somebody_works(record, exit_status)
            if timeout_s is not None and self._clock.monotonic() - began_s >= timeout_s:
                raise TimeoutError(f"{self.id} is still {record.state.value} after {timeout_s:g} s; it goes on.")
            self._clock.sleep(poll_s)

    def results(self, errors: bool = False) -> Iterator[dict[str, Any]]:
        """The result lines in input order, one part in memory at a time; of a running job those committed so far."""
        for line in self._job_store.lines("errors" if errors else "results"):
            yield orjson.loads(line)

    # --- properties ---

    @property
    def record(self) -> JobRecord:
        """The job as its objects say now."""
        return self._job_store.record(self._clock.now())

    @property
    def id(self) -> str:
        """The bare id."""
        return self._spec.job_id

    @property
    def name(self) -> str:
        """`accounts/<account>/batchInferenceJobs/<id>`."""
        return self._workspace.full_name("batchInferenceJobs", self.id)

    @property
    def model(self) -> str:
        """The model, as it was asked for."""
        return self._spec.model

    @property
    def input_dataset_id(self) -> str:
        """The bare id of the input."""
        return self._spec.input_dataset_id

    @property
    def output_dataset_id(self) -> str:
        """The bare id of the output."""
        return self._spec.output_dataset_id

    @property
    def continued_from_job_name(self) -> str:
        """The full name of the job whose failed rows this one runs; empty for any other."""
        return job_name(self._spec.continued_from, self._workspace)

    @property
    def state(self) -> str:
        """`JOB_STATE_RUNNING` and so on, as of now."""
        return wire_state(self.record.state)

    @property
    def created_by(self) -> str:
        """The account that created it."""
        return self._spec.created_by

    @property
    def create_time(self) -> str:
        """RFC 3339, UTC."""
        return self._spec.created_at

    @property
    def update_time(self) -> str:
        """RFC 3339, UTC: the last sign of life."""
        return self.record.updated_at

    @property
    def display_name(self) -> str:
        """The label; may be empty."""
        return self._spec.display_name

    @property
    def url(self) -> str:
        """Where the output lies."""
        return self._job_store.uri

    # --- inside ---

    @classmethod
    def _at(cls, pointer: JobPointer, workspace: Workspace) -> Self | None:
        try:
            return cls(JobStore.open(pointer.output), workspace)
        except JobNotFound:  # its output dataset was deleted
            return None

    def _request_stop(self, how: str) -> bool:
        """False when the job has ended."""
        if self._job_store.manifest() is not None:
            return False
        message = f"{how} by {self._workspace.account_id}."
        self._job_store.request_stop(Stop(StopState.CANCELLED, message, rfc3339(self._clock.now())))
        return True

    def _check_somebody_works(self, record: JobRecord, exit_status: int | None) -> None:
        """JobFailed when our worker ended early, or when for a TTL nobody showed life; JobGone."""
        self._job_store.check_in_place()
        if exit_status is not None:
            raise JobFailed(
                f"{self.id}: its worker ended early, exit status {exit_status} (log: {self._log}); resume it."
            )
        silent = self._clock.now() - parse_rfc3339(record.updated_at) > timedelta(seconds=HEARTBEAT_TTL_S)
        idle = why_idle(record, this_process())
        if silent and idle is not None:  # before that a worker that somebody else has started may be about to claim it
            raise JobFailed(f"{self.id}: {idle}; resume it.")


def requested_spec(  # noqa: PLR0913, PLR0917  # those of `create`
    workspace: Workspace,
    model: str,
    input_dataset_id: str,
    output_dataset_id: str | None = None,
    job_id: str | None = None,
    display_name: str | None = None,
    inference_parameters: InferenceParameters | Mapping[str, object] | None = None,
    *,
    engine: str = "vllm",
    engine_args: Mapping[str, object] | None = None,
    **options: Unpack[SpecOptions],
) -> JobSpec:
    """The spec that `BatchInferenceJob.create` stores. UsageError: no such input, or a value that cannot be."""
    own_id, output_id = _ids(workspace, job_id, output_dataset_id)
    input_id = workspace.bare_id("datasets", input_dataset_id)
    given = inference_parameters or {}
    return JobSpec(
        job_id=own_id,
        inputs=workspace.inputs_of(input_id),
        output=workspace.dataset_uri(output_id),
        model=model,
        created_at=rfc3339(SystemClock().now()),
        engine=engine,
        engine_args=check_engine_args(engine, engine_args or {}),
        parameters=given if isinstance(given, InferenceParameters) else InferenceParameters.from_dict(given),
        display_name=display_name or "",
        created_by=workspace.account_id,
        input_dataset_id=input_id,
        output_dataset_id=output_id,
        **spec_fields(options),
    )


def _ids(workspace: Workspace, job_id: str | None, output_dataset_id: str | None) -> tuple[str, str]:
    """The bare ids of a job and of its output: a new one where none is given, and the job's own."""
    own_id = workspace.bare_id("batchInferenceJobs", job_id or f"bij-{uuid4().hex[:12]}")
    return own_id, workspace.bare_id("datasets", output_dataset_id or own_id)
