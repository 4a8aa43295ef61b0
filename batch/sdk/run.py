"""`batch.run`: the command `batchctl run` as a function. Needs no workspace; its state lives under the output."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Unpack

import orjson

from batch.clock import SystemClock, rfc3339
from batch.errors import JobFailed, JobHeld
from batch.exit_codes import ExitCode
from batch.jobs.store import JobStore
from batch.machine.launcher import Launcher, interrupt, log_path
from batch.machine.resources import check_installed
from batch.records.manifest import Manifest
from batch.sdk.first_look import LENIENT, STRICT
from batch.spec.engine_arguments import check_engine_args
from batch.spec.job_options import SpecOptions, spec_fields
from batch.spec.job_spec import JobSpec
from batch.spec.parameters import InferenceParameters
from batch.submission.prepare import UNNAMED, named, prepare
from connectors.uri import parse_pattern, parse_uri

WORKERS = Launcher()
Place = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Run:
    """A job that has ended. `manifest` is its ledger: counts, files, tokens, times."""

    manifest: Manifest
    _job_store: JobStore

    def results(self, errors: bool = False) -> Iterator[dict[str, Any]]:
        """The result lines in input order, one part in memory at a time; `errors`: those of the rows that failed."""
        for line in self._job_store.lines("errors" if errors else "results"):
            yield orjson.loads(line)


def run(  # noqa: PLR0913  # the flags of the command
    inputs: Place | Iterable[Place],
    *,
    model: str,
    output: Place,
    job_id: str | None = None,
    engine: str = "vllm",
    engine_args: Mapping[str, object] | None = None,
    inference_parameters: InferenceParameters | Mapping[str, object] | None = None,
    replicas: str | None = None,
    ray_address: str | None = None,
    launcher: Launcher = WORKERS,
    **options: Unpack[SpecOptions],
) -> Run:
    """Run files of requests through a model, and return when all rows have their result.

    `inputs` and `output` are folders, files, globs or URIs, as of the command; the keywords are its flags. The same
    call again goes on with a job that was interrupted, and gives what an ended one has. Ctrl-C, and any other exception
    that comes meanwhile, ends the worker, and what was answered is kept.

    Where `on_invalid="quarantine"` is given, rows that all fail for one reason start the job nevertheless.

    Raises UsageError and InvalidInput where something can be known to be wrong before an engine starts, JobHeld where
    another attempt runs the job, and JobFailed where it has ended otherwise than with results: failed, cancelled,
    expired, or no row succeeded.
    """
    given = inference_parameters or {}
    spec = JobSpec(
        job_id=job_id or UNNAMED,
        inputs=tuple(str(parse_pattern(os.fspath(place))) for place in _places(inputs)),
        output=str(parse_uri(os.fspath(output))),
        model=model,
        created_at=rfc3339(SystemClock().now()),
        engine=engine,
        engine_args=check_engine_args(engine, engine_args or {}),
        parameters=given if isinstance(given, InferenceParameters) else InferenceParameters.from_dict(given),
        **spec_fields(options),
    )
    first_look = LENIENT if options.get("on_invalid") == "quarantine" else STRICT
    job_store = prepare(spec if job_id else named(spec), first_look, replicas=replicas, ray_address=ray_address)
    if job_store.manifest() is None:
        check_installed(spec, ray_address=ray_address)
        _work(job_store, launcher, replicas=replicas, ray_address=ray_address)
    return _ended(job_store)


def _places(inputs: Place | Iterable[Place]) -> Iterable[Place]:
    return (inputs,) if isinstance(inputs, str | os.PathLike) else inputs


def _work(job_store: JobStore, launcher: Launcher, *, replicas: str | None, ray_address: str | None) -> None:
    """One attempt, to its end. Raises JobHeld, JobFailed."""
    job_id = job_store.spec().job_id
    log = log_path(job_store.uri, job_id=job_id, attempt=max(job_store.epoch_numbers(), default=0) + 1)
    with launcher.start(job_store.uri, foreground=True, replicas=replicas, ray_address=ray_address, log=log) as worker:
        try:
            exit_status = worker.wait()
        except BaseException:
            interrupt(worker)
            raise
    if job_store.manifest() is not None:
        return
    if exit_status == ExitCode.HELD:
        raise JobHeld(f"{job_id} is run by another attempt; `batchctl status {job_store.uri}` says which.")
    message = job_store.record(SystemClock().now()).message
    why = message.rstrip(".") or f"its worker ended with exit status {exit_status}"
    raise JobFailed(f"{job_id}: {why} (log: {log}).")


def _ended(job_store: JobStore) -> Run:
    manifest = job_store.manifest()
    assert manifest is not None, "the worker closes the ledger before it ends"
    if manifest.exit_code:
        codes = ", ".join(f"{count:,} {code}" for code, count in sorted(manifest.failed_by_code.items()))
        why = job_store.record(SystemClock().now()).message
        raise JobFailed(
            f"{manifest.job_id} ended {manifest.state.value}: {manifest.succeeded:,} rows succeeded, "
            f"{manifest.failed:,} failed ({codes or 'none'}); results and errors are in {job_store.uri}. {why}".rstrip()
        )
    return Run(manifest, job_store)
