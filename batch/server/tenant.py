"""Everything of one account, and how a job of it is made. Knows no face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from batch.errors import UsageError
from batch.jobs.store import JobStore
from batch.records.objects import Stop, StopState
from batch.records.state import JobRecord
from batch.server.failures import scrubbed
from batch.server.files.drafts import Drafts
from batch.server.files.outputs import OutputFiles
from batch.server.files.uploaded import CONTENT, Files
from batch.server.files.uploads import Uploads
from batch.server.jobs.account_jobs import AccountJobs
from batch.server.jobs.submissions import Submission, Submissions
from batch.spec.engine_config import EngineConfig
from batch.spec.job_spec import JobSpec
from batch.spec.parameters import InferenceParameters
from batch.submission.retry_failed import continue_spec
from batch.submission.submit import submit
from batch.workspace.store import Workspace
from connectors.uri import join, parse_uri


@dataclass(frozen=True, slots=True)
class Asked:
    """What a job is to do, beyond its submission. `output_id`: the dataset that it makes.

    `continued`: where the output of the job lies whose failed rows it runs; its other settings are then that job's.
    """

    output_id: str
    engine: EngineConfig
    created_by: str
    inputs: tuple[str, ...]
    parameters: InferenceParameters
    deadline_s: float | None = None
    display_name: str = ""
    row_model: Literal["check", "ignore"] = "check"
    continued: str | None = None


@dataclass(frozen=True, slots=True)
class Tenant:
    """One account of the server."""

    workspace: Workspace
    files: Files
    uploads: Uploads
    drafts: Drafts
    jobs: AccountJobs
    submissions: Submissions
    outputs: OutputFiles

    @property
    def account_id(self) -> str:
        """Its id."""
        return self.workspace.account_id

    def message(self, record: JobRecord, places: Sequence[str]) -> str:
        """What is told of a job, without the addresses of the server's places or where its model lies."""
        spec = record.spec
        sources = {spec.model: spec.engine_config.model_names[0], **{lies: name for name, lies in spec.lora.items()}}
        text = record.message
        for source in sorted(sources, key=len, reverse=True):
            text = text.replace(source, sources[source])
        return str(scrubbed(text, places))

    def create_job(self, submission: Submission, asked: Asked) -> JobRecord:
        """Store the job; after a crash in the middle the same call completes it. UsageError, SpecMismatch."""
        standing = self.submissions.create(submission)
        submit(self._spec(standing, asked), self.workspace, is_probed=True)
        record = self.jobs.get(standing.job_id)
        if record is None:
            raise UsageError(f"Job {standing.job_id!r} was deleted while it was made.")
        return record

    def delete_job(self, record: JobRecord, *, by: str, at: str) -> None:
        """Forget a job when it has ended, which this asks it for; its output dataset stays."""
        self.submissions.mark_deleted(record.job_id)
        store = self.jobs.store(record.job_id)
        if record.manifest is None and store is not None:
            store.request_stop(Stop(StopState.CANCELLED, f"Deleted by {by}.", at))
            self.jobs.forget(record.job_id)
        else:
            self.forget_job(record.job_id)

    def forget_job(self, job_id: str) -> None:
        """Remove what leads to a job."""
        self.workspace.delete_job(job_id)
        self.submissions.delete(job_id)
        self.jobs.forget(job_id)

    def content_of(self, file_id: str) -> tuple[str, ...]:
        """The input that an uploaded file is."""
        return (str(join(parse_uri(self.workspace.dataset_uri(file_id)), CONTENT)),)

    def uses(self, dataset_id: str) -> list[str]:
        """The jobs that have not ended and read or write a dataset, by id."""
        return [
            record.job_id
            for record in self.jobs.unfinished()
            if dataset_id in (record.spec.input_dataset_id, record.spec.output_dataset_id)
        ]

    def _spec(self, submission: Submission, asked: Asked) -> JobSpec:
        output = self.workspace.dataset_uri(asked.output_id)
        if asked.continued is not None:
            old = JobStore.open(asked.continued)
            spec = continue_spec(old, job_id=submission.job_id, output=output, created_at=submission.created_at)
            return replace(
                spec,
                display_name=asked.display_name,
                created_by=asked.created_by,
                output_dataset_id=asked.output_id,
                deadline_s=asked.deadline_s,
            )
        return JobSpec(
            job_id=submission.job_id,
            inputs=asked.inputs,
            output=output,
            model=asked.engine.model,
            created_at=submission.created_at,
            served_model_names=asked.engine.served_model_names,
            lora=asked.engine.lora,
            engine=asked.engine.engine,
            engine_args=asked.engine.engine_args,
            parameters=asked.parameters,
            row_model=asked.row_model,
            deadline_s=asked.deadline_s,
            display_name=asked.display_name,
            created_by=asked.created_by,
            input_dataset_id=submission.input_id,
            output_dataset_id=asked.output_id,
        )


def priority_of(metadata: Mapping[str, str]) -> int:
    """The priority that the metadata of a batch ask for, 0 for none. UsageError for one that is no number."""
    text = metadata.get("batchctl_priority", "0")
    if not text.removeprefix("-").isdigit() or not -100 <= int(text) <= 100:  # noqa: PLR2004 - the bounds, told below
        raise UsageError(f"batchctl_priority={text!r}: expected a whole number from -100 to 100")
    return int(text)
