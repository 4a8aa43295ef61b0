"""A job that continues another one: the rows that failed there, and no others, as a job with an output of its own.

The old job is read and never changed. Knows nothing of workers and workspaces.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Literal

import orjson

from batch.errors import JobFailed, UsageError
from batch.jobs.store import READERS, JobStore
from batch.planning.plan import Continuation, Plan, PlannedInput
from batch.planning.shards import Shard, Span
from batch.records.manifest import UNREAD_INPUTS, Manifest
from batch.records.objects import Part
from batch.result import Code
from batch.spec.engine_arguments import check_engine_args
from batch.spec.job_spec import JobSpec
from batch.spec.parameters import InferenceParameters
from connectors.errors import NotFound
from connectors.stores.registry import locate


@dataclass(frozen=True, slots=True)
class Changes:
    """What a job that continues another one asks for otherwise; None or nothing: as the old job does.

    `engine_args`, `lora`: beside those of the old job, or instead of those of the same names.
    """

    row_model: Literal["check", "ignore"] | None = None
    max_tokens: int | None = None
    engine_args: Mapping[str, object] = field(default_factory=dict)
    lora: Mapping[str, str] = field(default_factory=dict)

    def made_to(self, old: JobSpec) -> JobSpec:
        """The old spec with these changes, which says what they changed. UsageError for a value that cannot be."""
        parameters = old.parameters.to_dict()
        parameters |= {} if self.max_tokens is None else {"max_tokens": self.max_tokens}
        spec = replace(
            old,
            row_model=self.row_model or old.row_model,
            parameters=InferenceParameters.from_dict(parameters),
            engine_args=check_engine_args(old.engine, {**old.engine_args, **self.engine_args}),
            lora={**old.lora, **self.lora},
        )
        return replace(spec, changed_from={name: there for name, (_, there) in spec.differences(old).items()})


NO_CHANGES = Changes()


def continue_spec(
    old: JobStore,
    retry_codes: Iterable[str] = (),
    *,
    job_id: str,
    output: str,
    created_at: str,
    changes: Changes = NO_CHANGES,
) -> JobSpec:
    """The spec of a job that runs the failed rows of `old` under its settings, any number of which may fail again.

    `retry_codes`: only the rows that failed with one of these; none: all. `changes`: settings that are not the old
    job's. UsageError for what is no code, or cannot be. Reads the old spec alone: whether there is something to
    continue, `continue_plan` finds out.
    """
    codes = tuple(sorted(set(retry_codes)))
    unknown = next((code for code in codes if code not in set(Code)), None)
    if unknown is not None:
        raise UsageError(f"{unknown!r} is no code of failed rows: expected one of {', '.join(Code)}.")
    spec = old.spec()
    return replace(
        changes.made_to(spec),
        job_id=job_id,
        output=output,
        created_at=created_at,
        max_failed_rows=None,  # the budget was for the whole input
        display_name="",
        created_by="",
        output_dataset_id="",
        continued_from=spec.job_id,
        continued_from_output=old.uri,
        retry_codes=codes,
        token="",
    )


def continue_plan(spec: JobSpec, heed: Callable[[], object] = lambda: None) -> Plan:
    """The plan over the rows that a job takes over. They keep their file, line number, offset and custom_id.

    Its shards are those of the old job that hold such rows. UsageError: the old job has not ended, no row failed so, or
    an input is not what it was. Reads the error parts with such rows; memory grows with the plan. `heed` is called
    every now and then, and what it raises breaks it off.
    """
    old = JobStore.open(spec.continued_from_output)
    if old.spec().job_id != spec.continued_from:
        raise UsageError(
            f"{old.uri} holds {old.spec().job_id} now, not {spec.continued_from}, whose failed rows were asked for"
        )
    plan, manifest = old.plan(), old.manifest()
    if plan is None or manifest is None:
        raise UsageError(
            f"{old.spec().job_id} has not ended, so more of its rows may fail: `batchctl resume {old.uri}` goes on "
            "with it; retry its failed rows after that."
        )
    codes = frozenset(spec.retry_codes) or frozenset(manifest.failed_by_code)
    left = {code: rows for code, rows in manifest.failed_by_code.items() if code not in codes}
    retried = manifest.failed - sum(left.values())
    if not retried:
        raise UsageError(_nothing_to_retry(spec, manifest))
    shards = _with_lines(plan, _failed_lines(old, manifest, codes, heed))
    found = sum(shard.rows for shard in shards)
    if found != retried:
        raise JobFailed(f"{old.uri}: the ledger counts {retried} rows with {', '.join(codes)}, errors/ holds {found}")
    inputs = _inputs_of(plan, shards)
    for planned in inputs:
        heed()
        if planned.lines:
            _refuse_changed(planned, manifest.job_id)
    return Plan(inputs, shards, Continuation(manifest.job_id, old.uri, manifest.succeeded, retried, left))


def _nothing_to_retry(spec: JobSpec, manifest: Manifest) -> str:
    if not manifest.inputs:
        return f"There is nothing to retry of {manifest.job_id}, stopped early. {UNREAD_INPUTS} Run them as a new job."
    if not manifest.failed:
        return f"No row of {manifest.job_id} failed: there is nothing to retry."
    by_code = ", ".join(f"{code} {rows:,}" for code, rows in manifest.failed_by_code.items())
    return f"No row of {manifest.job_id} failed with {' or '.join(spec.retry_codes)}; its rows failed with: {by_code}."


def _failed_lines(
    old: JobStore, manifest: Manifest, codes: Collection[str], heed: Callable[[], object]
) -> dict[str, list[int]]:
    """File -> numbers of its lines that failed with one of the codes, ascending."""

    def lines_in(part: Part) -> list[tuple[str, int]]:
        errors = (orjson.loads(line)["error"] for line in old.lines_of(part))
        return [(error["file"], error["line"]) for error in errors if error["code"] in codes]

    failed: dict[str, list[int]] = {}
    parts = iter(manifest.errors)
    with ThreadPoolExecutor(READERS) as readers:
        while some := list(islice(parts, READERS)):  # a pool that is left waits for all that it was given
            heed()
            for file, line in chain.from_iterable(readers.map(lines_in, some)):
                failed.setdefault(file, []).append(line)
    return failed


def _with_lines(plan: Plan, chosen: Mapping[str, Sequence[int]]) -> tuple[Shard, ...]:
    """The shards with chosen lines, numbered anew; one whose rows were all chosen names none of them."""
    taken: list[Shard] = []
    for shard in plan.output_shards:
        lines_of_spans = ((span, chosen.get(plan.inputs[span.input].uri, ())) for span in shard.spans)
        spans = tuple(filter(None, (_with_lines_of_file(span, lines) for span, lines in lines_of_spans)))
        if spans:
            taken.append(Shard(len(taken), spans))
    return tuple(taken)


def _with_lines_of_file(span: Span, lines: Sequence[int]) -> Span | None:
    """The span with those of its file's chosen lines that it holds; None when it holds none."""
    inside = tuple(lines[bisect_left(lines, span.piece.first_line) : bisect_left(lines, span.end_line)])
    if not inside:
        return None
    return replace(span, only=span.only if len(inside) == span.rows else inside)


def _inputs_of(plan: Plan, shards: tuple[Shard, ...]) -> tuple[PlannedInput, ...]:
    """The inputs of the plan, counting the lines that the shards run."""
    rows = replace(plan, shards=shards).rows_of_inputs()
    return tuple(replace(planned, lines=rows[index], blank=0) for index, planned in enumerate(plan.inputs))


def _refuse_changed(planned: PlannedInput, job_id: str) -> None:
    store, key = locate(planned.uri)
    try:
        found = store.head(key)
    except NotFound:
        now = "it is gone"
    else:
        if found.etag == planned.etag:
            return
        now = f"now it has {found.size_bytes:,} bytes, version {found.etag}"
    raise UsageError(
        f"{planned.uri} is not the file that {job_id} read ({planned.size_bytes:,} bytes, version {planned.etag}): "
        f"{now}. Its rows cannot be retried; bring the file back as it was, or run the new one as a job of its own."
    )
