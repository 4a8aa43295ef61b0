"""The manifest: the closing ledger of a job, whose presence means that the job ended.

Version 1; field names as users read them in `manifest.json`. Knows nothing of stores.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

import orjson

from batch import layout
from batch.errors import JobFailed
from batch.exit_codes import ExitCode
from batch.planning.plan import Continuation, Plan
from batch.planning.shards import Shard
from batch.records.objects import FORMAT, Commit, CorruptRecord, OutputParts, Part, Scalar, Stop, decode_record
from batch.result import Usage
from batch.spec.job_spec import JobSpec


class LedgerOpen(JobFailed):
    """Lines went in that neither succeeded nor failed; the message names the shard or the input, and the counts."""


class FinalState(StrEnum):
    """How a job can have ended."""

    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"


UNREAD_INPUTS = "Its inputs had not been read to the end, so none of their lines was taken in."


@dataclass(frozen=True, slots=True)
class LedgerInput:
    """One input file, as it was planned and read."""

    uri: str
    bytes: int
    etag: str
    lines: int


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """The model that answered; `revision` is empty where none is known."""

    name: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """The engine that answered, with its load-time configuration."""

    name: str
    version: str
    config: dict[str, Scalar]


@dataclass(frozen=True, slots=True)
class Manifest:
    """The ledger. `results` and `errors` are in shard order, which is input order.

    Of a job that continues another, `lines` and those of the inputs are the lines it took over. Of one that was
    stopped before its inputs were read to the end there are no `inputs`, and no lines.
    """

    job_id: str
    state: FinalState
    spec_digest: str
    lines: int
    blank: int
    succeeded: int
    failed: int
    failed_by_code: dict[str, int]
    inputs: tuple[LedgerInput, ...]
    results: tuple[Part, ...]
    errors: tuple[Part, ...]
    usage: Usage
    rows_served_by_deduplication: int
    model: ModelIdentity
    engine: EngineIdentity
    attempts: int
    created_at: str
    started_at: str
    finished_at: str
    continued_from: Continuation | None = None

    @property
    def none_succeeded(self) -> bool:
        """Whether the job came to its end without one answer, though it had rows."""
        return self.state is FinalState.COMPLETED and self.failed > 0 and self.succeeded == 0

    @property
    def was_stopped(self) -> bool:
        """Whether a request to stop, or its deadline, ended it."""
        return self.state in (FinalState.CANCELLED, FinalState.EXPIRED)

    @property
    def exit_code(self) -> ExitCode:
        """What a command exits with that saw the job end so."""
        return ExitCode.FAILED if self.none_succeeded else ExitCode[self.state.name]


@dataclass(frozen=True, slots=True)
class Closing:
    """What the closing attempt knows beyond the stored objects. `started_at` is that of the first attempt."""

    engine: EngineIdentity
    attempts: int
    started_at: str
    finished_at: str
    model_revision: str = ""


def close_ledger(
    spec: JobSpec,
    plan: Plan,
    *,
    commits: Mapping[int, Commit],
    stop: Stop | None,
    closing: Closing,
    output: OutputParts | None = None,
) -> Manifest:
    """The manifest over one commit per shard; `output`: the parts, where they are not those of the commits.

    `stop`: what ended rows before they were answered. LedgerOpen unless every input's lines are accounted for.
    """
    in_order = [_checked(shard, commits) for shard in plan.shards]
    _check_inputs(plan)
    output = output or OutputParts.joined(commit.output for commit in in_order)
    _check_output(output, in_order)
    failed_by_code: dict[str, int] = {}
    for commit in in_order:
        for code, rows in commit.failed_by_code.items():
            failed_by_code[code] = failed_by_code.get(code, 0) + rows
    failed = sum(commit.failed for commit in in_order)
    return Manifest(
        job_id=spec.job_id,
        state=_final_state(spec, stop, failed=failed, rows=plan.rows),
        spec_digest=spec.digest,
        lines=plan.lines,
        blank=plan.blank,
        succeeded=sum(commit.succeeded for commit in in_order),
        failed=failed,
        failed_by_code=dict(sorted(failed_by_code.items())),
        inputs=tuple(LedgerInput(i.uri, i.size_bytes, i.etag, i.lines) for i in plan.inputs),
        results=tuple(replace(part, etag="") for part in output.results),
        errors=tuple(replace(part, etag="") for part in output.errors),
        usage=sum((commit.usage for commit in in_order), Usage()),
        rows_served_by_deduplication=sum(commit.copied for commit in in_order),
        model=ModelIdentity(spec.model, closing.model_revision),
        engine=closing.engine,
        attempts=closing.attempts,
        created_at=spec.created_at,
        started_at=closing.started_at,
        finished_at=closing.finished_at,
        continued_from=plan.continued_from,
    )


def reason_of(manifest: Manifest, spec: JobSpec, stop: Stop | None) -> str:
    """Why a job did not end with answers, for people; empty for one that did. `stop`: the one that stands, if any."""
    if stop is not None and stop.state.value == manifest.state.value:
        return stop.message if manifest.inputs else f"{stop.message} {UNREAD_INPUTS}"
    if manifest.state is FinalState.FAILED:
        return spec.spent_budget(failed=manifest.failed, rows=manifest.lines - manifest.blank)
    if manifest.none_succeeded:
        by_code = sorted(manifest.failed_by_code.items(), key=lambda item: (-item[1], item[0]))
        return f"No row succeeded: {', '.join(f'{rows:,} failed with {code}' for code, rows in by_code)}."
    return ""


def _final_state(spec: JobSpec, stop: Stop | None, *, failed: int, rows: int) -> FinalState:
    """The stop's, if one ended rows. Else the last failures count, too: no heartbeat may have seen them."""
    if stop is not None:
        return FinalState(stop.state)
    return FinalState.FAILED if spec.spent_budget(failed=failed, rows=rows) else FinalState.COMPLETED


def _checked(shard: Shard, commits: Mapping[int, Commit]) -> Commit:
    """The shard's commit, whose counts agree with its parts and with the planned rows."""
    commit = commits.get(shard.index)
    if commit is None:
        raise LedgerOpen(f"shard {shard.index} has no commit: its {shard.rows} rows have no result; run again")
    for kind, counted, parts in (
        ("results", commit.succeeded, commit.output.results),
        ("errors", commit.failed, commit.output.errors),
    ):
        stored = sum(part.rows for part in parts)
        if stored != counted:
            raise LedgerOpen(f"shard {shard.index}: the commit counts {counted} {kind}, its part holds {stored} rows")
    done = commit.succeeded + commit.failed
    if done != shard.rows:
        raise LedgerOpen(
            f"shard {shard.index}: planned {shard.rows} rows, "
            f"committed {commit.succeeded} succeeded + {commit.failed} failed = {done}"
        )
    return commit


def _check_inputs(plan: Plan) -> None:
    """The shards hold each input's rows; that each of their rows has a result was seen before."""
    for planned, rows in zip(plan.inputs, plan.rows_of_inputs(), strict=True):
        if planned.lines != planned.blank + rows:
            raise LedgerOpen(
                f"{planned.uri}: {planned.lines} lines, but {planned.blank} blank + {rows} with a result "
                f"= {planned.blank + rows}"
            )


def _check_output(output: OutputParts, in_order: list[Commit]) -> None:
    for kind, parts, counted in (
        ("results", output.results, sum(commit.succeeded for commit in in_order)),
        ("errors", output.errors, sum(commit.failed for commit in in_order)),
    ):
        stored = sum(part.rows for part in parts)
        if stored != counted:
            raise LedgerOpen(f"the commits count {counted} {kind}, the output's parts hold {stored} rows")


_SHOWN_OF_A_PART = ("key", "rows", "bytes", "sha256")


def encode_manifest(manifest: Manifest) -> bytes:
    """`manifest.json`: readable JSON with a newline at its end."""
    usage = manifest.usage
    fields = {"format": FORMAT} | {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    for kind in ("results", "errors"):
        fields[kind] = [{name: getattr(part, name) for name in _SHOWN_OF_A_PART} for part in fields[kind]]
    fields["usage"] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "cached_tokens": usage.cached_tokens,
    }
    return orjson.dumps(fields, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)


def decode_manifest(content: bytes, *, key: str) -> Manifest:
    """The manifest that `encode_manifest` wrote, if it adds up. CorruptRecord names the key and what is wrong."""
    try:
        fields = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise CorruptRecord(f"{key}: not JSON ({error})") from None
    usage = fields.get("usage") if isinstance(fields, dict) else None
    if isinstance(usage, dict):
        usage.pop("total_tokens", None)
    manifest = decode_record(Manifest, orjson.dumps(fields), key=key)
    problem = next(_sums_that_differ(manifest), "") or _bad_key(manifest)
    if problem:
        raise CorruptRecord(f"{key}: {problem}; something else than batchctl changed it")
    return manifest


def _sums_that_differ(manifest: Manifest) -> Iterator[str]:
    for told, counted, what in (
        (
            manifest.lines,
            manifest.blank + manifest.succeeded + manifest.failed,
            "lines, but blank, succeeded and failed",
        ),
        (manifest.lines, sum(each.lines for each in manifest.inputs), "lines, but the inputs' lines"),
        (manifest.failed, sum(manifest.failed_by_code.values()), "failed, but the codes"),
        (manifest.succeeded, sum(part.rows for part in manifest.results), "succeeded, but the parts of results"),
        (manifest.failed, sum(part.rows for part in manifest.errors), "failed, but the parts of errors"),
    ):
        if told != counted:
            yield f"{told} {what} make {counted}"


def _bad_key(manifest: Manifest) -> str:
    """What is wrong with the first key of a part that is another's, or lies elsewhere; empty for none."""
    seen: set[str] = set()
    for kind, parts in (("results", manifest.results), ("errors", manifest.errors)):
        for part in parts:
            if part.key in seen:
                return f"{part.key} is named twice"
            if not layout.is_part(kind, part.key):
                return f"{part.key!r} is no part under {kind}/"
            seen.add(part.key)
    return ""
