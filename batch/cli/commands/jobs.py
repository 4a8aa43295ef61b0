"""`create|get|list|cancel|resume|delete batch-inference-job`, and `cancel|resume OUT` for jobs that `run` made."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from batch.cli.commands.retry import RetryFlags, continue_option, prepare_retry, refuse_settings, retry_options
from batch.cli.flags.common import global_options, output_option, settings
from batch.cli.flags.completion import datasets, folders, jobs, jobs_and_folders
from batch.cli.flags.job_options import limit_options, line_options, take_options
from batch.cli.flags.parameters import parameter_options, take, take_parameters
from batch.cli.flags.running import attempt_options, engine_arguments, engine_options
from batch.cli.flags.values import DURATION
from batch.cli.output.resources import ListFlags, list_options, print_pages, render, resource_output
from batch.errors import JobNotFound, UsageError

if TYPE_CHECKING:
    from batch.jobs.store import JobStore
    from batch.sdk.job import BatchInferenceJob
    from batch.submission.first_look import FirstLook
    from batch.workspace.listing import Page, Query
    from batch.workspace.store import Workspace

COLUMNS = ("id", "state", "done", "model", "create_time", "display_name")

wait_option = click.option("--wait", is_flag=True, help="Stay until the job has ended, and exit as `run` would.")
wait_timeout_option = click.option("--wait-timeout", type=DURATION, metavar="1h", help="Stay at most so long.")


@dataclass(frozen=True, slots=True)
class Submission:
    """What names a job and its datasets; every field is the flag of its name."""

    job_id: str | None
    display_name: str | None
    model: str
    input_dataset_id: str
    output_dataset_id: str | None


@click.command()
@click.option("--job-id", metavar="ID", help="Default: a new one.")
@click.option("--display-name", metavar="TEXT")
@click.option("-m", "--model", default="", help="A hub id, a local folder or an object-store URI.  [required]")
@click.option(
    "-d", "--input-dataset-id", default="", metavar="ID", help="The requests.  [required]", shell_complete=datasets
)
@click.option("-x", "--output-dataset-id", metavar="ID", help="Where the results go; default: the job's id.")
@continue_option
@parameter_options
@engine_options
@line_options
@limit_options
@attempt_options
@wait_option
@wait_timeout_option
@click.option("--quiet", is_flag=True, help="Print errors only.")
@click.option("--dry-run", is_flag=True, help="Print the request, checked, without creating the job.")
@resource_output
@global_options
@click.pass_context
def create(ctx: click.Context, /, mode: str, continue_from: str | None, **given: Any) -> int:
    """Create a job over a dataset of the workspace and start it in the background."""
    from batch.cli.check import look_asked_for
    from batch.sdk.job import BatchInferenceJob

    workspace = _workspace(ctx)
    if continue_from:
        old = fields_of(_existing(workspace, continue_from), workspace)
        refuse_settings(ctx, model=old["model"], input_dataset_id=old["input_dataset_id"])
        job = BatchInferenceJob.continue_from(continue_from, workspace=workspace, **_named(given), **_attempt(given))
    else:
        first_look = look_asked_for(ctx, as_json=mode == "json")
        request = _request(given)
        if given["dry_run"]:
            _check(request, workspace, first_look)
            parameters = request["inference_parameters"].to_dict()
            click.echo(json.dumps(request | {"inference_parameters": parameters}, indent=2))
            return 0
        job = BatchInferenceJob.create(**request, workspace=workspace, first_look=first_look, **_attempt(given))
    if not given["quiet"]:
        click.echo(render(fields_of(job, workspace), mode))
    return _wait(ctx, job.id, given["wait_timeout"], as_json=mode == "json") if given["wait"] else 0


def _request(given: dict[str, Any]) -> dict[str, Any]:
    """What `BatchInferenceJob.create` takes of the job itself."""
    from batch.spec.engine_arguments import check_engine_args

    submission, parameters = take(Submission, given), take_parameters(given)
    for name in ("model", "input_dataset_id"):
        if not getattr(submission, name):
            raise UsageError(f"--{name.replace('_', '-')} is missing.")
    engine, engine_args = given["engine"], check_engine_args(given["engine"], engine_arguments(given["engine_arg"]))
    job = {"inference_parameters": parameters, "engine": engine, "engine_args": engine_args}
    return asdict(submission) | job | take_options(given)


def _check(request: dict[str, Any], workspace: Workspace, first_look: FirstLook) -> None:
    """Check a request without creating its job. Raises what `BatchInferenceJob.create` raises."""
    from batch.sdk.job import requested_spec
    from batch.submission.prepare import check_request

    check_request(requested_spec(workspace, **request), first_look)


def _named(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("job_id", "output_dataset_id", "display_name")}


def _attempt(given: dict[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in ("replicas", "ray_address")}


@click.command()
@click.argument("job_id", shell_complete=jobs)
@resource_output
@global_options
@click.pass_context
def get(ctx: click.Context, /, job_id: str, mode: str) -> None:
    """Show a job."""
    workspace = _workspace(ctx)
    click.echo(render(fields_of(_existing(workspace, job_id), workspace), mode))


@click.command("list")
@list_options
@resource_output
@global_options
@click.pass_context
def list_(ctx: click.Context, /, mode: str, **given: Any) -> None:
    """List the jobs of the workspace, by creation."""
    from batch.sdk.job import BatchInferenceJob
    from batch.workspace.listing import Page

    workspace = _workspace(ctx)

    def pages(query: Query) -> Page[dict[str, Any]]:
        page = BatchInferenceJob.list_page(query, workspace)
        return Page([fields_of(job, workspace) for job in page.items], page.next_page_token, page.total_size)

    print_pages(ListFlags(**given), mode, collection="batch_inference_jobs", columns=COLUMNS, pages=pages)


@click.command()
@click.argument("job", metavar="JOB|OUT", shell_complete=jobs_and_folders)
@wait_option
@wait_timeout_option
@global_options
@click.pass_context
def cancel(ctx: click.Context, /, job: str, wait: bool, wait_timeout: float | None) -> int:
    """Cancel a job: the rows that are done are kept, the others end as errors with the code `cancelled`."""
    from batch.sdk.job import BatchInferenceJob

    job_store = _find(ctx, job)
    found = BatchInferenceJob(job_store, _workspace(ctx))
    if (manifest := job_store.manifest()) is not None:
        click.echo(f"{found.id} has already ended: {manifest.state.value}.")
        return 0
    found.cancel()
    click.echo(f"{found.id} is being cancelled.")
    return _wait(ctx, job, wait_timeout, as_json=False) if wait else 0


@click.command()
@click.argument("old_job_id", metavar="JOB_ID", shell_complete=jobs)
@retry_options
@click.option("--job-id", metavar="ID", help="With --retry-failed: the new job; default: a new id.")
@click.option("-x", "--output-dataset-id", metavar="ID", help="With --retry-failed: its output; default: its id.")
@click.option("--display-name", metavar="TEXT", help="With --retry-failed: its name for people.")
@attempt_options
@wait_option
@wait_timeout_option
@resource_output
@global_options
@click.pass_context
def resume(ctx: click.Context, /, old_job_id: str, mode: str, **given: Any) -> int:
    """Start another attempt of an unfinished job in the background.

    With --retry-failed, run the rows of an ended job that failed as a new job, which continues it.
    """
    from batch.sdk.job import BatchInferenceJob

    workspace = _workspace(ctx)
    flags = take(RetryFlags, given)
    flags.check(**_named(given))
    job = _existing(workspace, old_job_id)
    if flags.retry_failed:
        job = BatchInferenceJob.continue_from(
            job.id, flags.codes, changes=flags.changes(), workspace=workspace, **_named(given), **_attempt(given)
        )
    else:
        job.resume(**_attempt(given))
    click.echo(render(fields_of(job, workspace), mode))
    return _wait(ctx, job.id, given["wait_timeout"], as_json=mode == "json") if given["wait"] else 0


@click.command("resume")
@click.argument("job", metavar="JOB|OUT", shell_complete=jobs_and_folders)
@retry_options
@click.option(
    "--output", metavar="OUT", help="With --retry-failed: the new job's own folder or URI.", shell_complete=folders
)
@attempt_options
@output_option("text", "json")
@global_options
@click.pass_context
def resume_here(ctx: click.Context, /, job: str, output: str | None, mode: str, **given: Any) -> int:
    """Go on with an unfinished job in the foreground, as `run` would. `resume batch-inference-job ID` starts it
    in the background.

    With --retry-failed, run the rows of an ended job that failed as a new one, which continues it; the old one stays
    as it is: batchctl resume out --retry-failed timeout internal --output out-2
    """
    from batch.cli.attempt import follow
    from batch.cli.output.outcome import Launch

    flags = take(RetryFlags, given)
    flags.check(output=output)
    job_store, again = _find(ctx, job), f"`batchctl resume {job}` goes on with it"
    if flags.retry_failed:
        job_store, again = prepare_retry(job_store, flags, output, **given), "the same command resumes it"
    return follow(job_store, Launch(job_store.uri, **given, again=again), as_json=mode == "json")


@click.command()
@click.argument("job_id", shell_complete=jobs)
@global_options
@click.pass_context
def delete(ctx: click.Context, /, job_id: str) -> None:
    """Forget a job, cancelling it if it runs; its output dataset stays."""
    from batch.sdk.job import BatchInferenceJob

    workspace = _workspace(ctx)
    own_id = _existing(workspace, job_id).id
    BatchInferenceJob.delete(own_id, workspace=workspace)
    click.echo(f"Deleted batch inference job {own_id}.")


def fields_of(job: BatchInferenceJob, workspace: Workspace) -> dict[str, Any]:
    """A job as it is listed and printed: the Build SDK's dictionary with RFC 3339 times, its id, and how far it is."""
    from batch.sdk.job_fields import as_dict

    record = job.record
    shown = as_dict(record, workspace) | {"create_time": record.created_at, "update_time": record.updated_at}
    progress: Any = shown.get("job_progress", {})
    done, total = progress.get("total_processed_requests", 0), progress.get("total_input_requests", 0)
    return (
        {"id": job.id, "state": shown["state"]} | shown | {"url": job.url, "done": f"{done}/{total}" if total else ""}
    )


def _wait(ctx: click.Context, job: str, timeout_s: float | None, *, as_json: bool) -> int:
    from batch.cli.commands.watch import follow_to_end

    return follow_to_end(_find(ctx, job), as_json=as_json, timeout_s=timeout_s)


def _find(ctx: click.Context, job: str) -> JobStore:
    from batch.cli.flags.target import find_job

    return find_job(job, settings(ctx))


def _workspace(ctx: click.Context) -> Workspace:
    from batch.workspace.store import Workspace

    found = settings(ctx)
    return Workspace(found.workspace, found.account_id)


def _existing(workspace: Workspace, job_id: str) -> BatchInferenceJob:
    from batch.sdk.job import BatchInferenceJob

    job = BatchInferenceJob.get(job_id, workspace=workspace)
    if job is None:
        raise JobNotFound(f"There is no batch inference job {job_id!r} in {workspace.uri}.")
    return job
