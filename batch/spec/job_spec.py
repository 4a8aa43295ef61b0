"""The job spec: everything a user asked for, frozen, and its digest, which with the id is the job's identity.

Knows nothing of attempts: replicas and addresses of clusters may differ from one attempt to the next.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import orjson

from batch.errors import UsageError
from batch.spec.engine_config import EngineConfig, EngineValue
from batch.spec.job_options import OPTIONS
from batch.spec.parameters import InferenceParameters

FORMAT = 1
MAX_YEARS = 100
"""Times that are much longer cannot be added to a date."""

_NOT_IDENTITY = frozenset(
    {
        "job_id",
        "created_at",
        "display_name",
        "created_by",
        "journal_every_s",
        "order_by_prefix",
        "token",
        "changed_from",
    }
)
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_FAILED_ROWS = re.compile(r"\d+|\d+(\.\d+)?%")


@dataclass(frozen=True, slots=True)
class PartFormat:
    """How lines are stored. `carried`: the fields of the input rows that have a column in Parquet."""

    name: Literal["jsonl", "parquet"]
    carried: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What one job is to do. `inputs`: canonical URIs or patterns; `output`: a URI; `created_at`: RFC 3339, UTC.

    `engine_args` are checked and typed by `batch.spec.engine_arguments`. Raises UsageError for a value out of bounds.
    """

    job_id: str
    inputs: tuple[str, ...]
    output: str
    model: str
    created_at: str
    served_model_names: tuple[str, ...] = ()
    lora: dict[str, str] = field(default_factory=dict)  # name -> where the adapter lies
    engine: str = "vllm"
    engine_args: dict[str, EngineValue] = field(default_factory=dict)
    parameters: InferenceParameters = field(default_factory=InferenceParameters)
    prompt_template: str | None = None
    messages_template: list[dict[str, object]] | None = None
    id_field: str | None = None
    carry: tuple[str, ...] = ()
    row_model: Literal["check", "ignore"] = "check"
    on_invalid: Literal["quarantine", "fail"] = "quarantine"
    max_failed_rows: str | None = None  # "10" or "5%"
    deadline_s: float | None = None  # after created_at
    row_timeout_s: float | None = None  # of one row in the engine, waiting included; None: by what the others take
    journal_every_s: float = 30.0  # how much work a crash may cost, besides the rows in flight
    deduplicate: bool = True  # ask equal requests once, where their answer is determined
    order_by_prefix: bool = True  # ask rows that share a prefix one after another
    max_line_bytes: int = 10 * 2**20
    output_format: Literal["jsonl", "parquet"] = "jsonl"
    shard_rows: int = 512
    display_name: str = ""
    created_by: str = ""
    input_dataset_id: str = ""
    output_dataset_id: str = ""
    continued_from: str = ""  # the job whose failed rows this one runs, and no other rows
    continued_from_output: str = ""
    retry_codes: tuple[str, ...] = ()  # of those rows the ones that failed so; empty: all
    changed_from: dict[str, object] = field(default_factory=dict)  # settings that differ there -> what they are there
    token: str = ""  # drawn when the job is stored; empty: by a batchctl that drew none

    def __post_init__(self) -> None:
        if not _JOB_ID.fullmatch(self.job_id):
            raise UsageError(f"job id {self.job_id!r}: expected 1 to 64 letters, digits, '_' or '-'")
        if not self.inputs:
            raise UsageError("no input: name at least one file, folder or pattern")
        if not self.model:
            raise UsageError("no model: name one with --model")
        for name, option in OPTIONS.items():
            if option.choices and getattr(self, name) not in option.choices:
                raise UsageError(f"{name}={getattr(self, name)!r}: expected {' or '.join(option.choices)}")
        if self.prompt_template is not None and self.messages_template is not None:
            raise UsageError("a prompt template and a messages template: give one of them")
        self._check_limits()
        self._check_values()

    def _check_limits(self) -> None:
        if self.max_failed_rows is not None and not _FAILED_ROWS.fullmatch(self.max_failed_rows):
            raise UsageError(
                f"max_failed_rows={self.max_failed_rows!r}: expected a number of rows or a share, as 10 or 5%"
            )
        for name in ("deadline_s", "row_timeout_s", "journal_every_s"):
            seconds = getattr(self, name)
            if seconds is not None:
                if not 0 < seconds <= MAX_YEARS * 365 * 86_400:
                    raise UsageError(f"{name}={seconds}: expected more than 0, at most {MAX_YEARS} years")
                object.__setattr__(self, name, float(seconds))  # 60 and 60.0 have to make one digest
        for name in ("max_line_bytes", "shard_rows"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name}={getattr(self, name)}: expected at least 1")

    def _check_values(self) -> None:
        """What a flag or a caller gave may be no JSON: half characters, integers of more than 64 bits."""
        for name, value in (self.parameters.to_dict() | _to_json(self)).items():
            try:
                orjson.dumps(value)
            except TypeError as error:
                raise UsageError(f"{name}: the value cannot be stored as JSON: {error}") from None

    @property
    def engine_config(self) -> EngineConfig:
        """What the job's engine is loaded with."""
        return EngineConfig(self.engine, self.model, self.served_model_names, self.lora, self.engine_args)

    @property
    def engine_names(self) -> tuple[str, ...]:
        """The names the engine answers to; the first is the one it gives itself."""
        return (*self.engine_config.model_names, *self.lora)

    @property
    def allowed_models(self) -> tuple[str, ...]:
        """The names a row may carry as its model."""
        return tuple(dict.fromkeys((self.model, *self.engine_names)))

    @property
    def digest(self) -> str:
        """The identity of what is asked, `sha256:...`: all fields but job_id, created_at, display_name, created_by."""
        asked = {name: value for name, value in _to_json(self).items() if name not in _NOT_IDENTITY}
        return f"sha256:{hashlib.sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()}"

    @property
    def life(self) -> str:
        """What tells this job from every other one that its output may have been or will be given to; empty: nothing.

        The same settings in the same place, stored anew, are another life: its token is another one.
        """
        return f"{self.digest}/{self.token}" if self.token else ""

    def differences(self, other: JobSpec) -> dict[str, tuple[object, object]]:
        """Return field -> (ours, theirs) for each field of the identity that differs."""
        ours, theirs = _to_json(self), _to_json(other)
        differing = (name for name in ours if name not in _NOT_IDENTITY and ours[name] != theirs[name])
        return {name: (ours[name], theirs[name]) for name in differing}

    @property
    def part_format(self) -> PartFormat:
        """How result and error lines are stored."""
        return PartFormat(self.output_format, self.carry)

    def allowed_failures(self, rows: int) -> int | None:
        """Return how many of `rows` may fail before the job does; None: any number."""
        if self.max_failed_rows is None:
            return None
        if self.max_failed_rows.endswith("%"):
            return int(rows * float(self.max_failed_rows[:-1]) / 100)
        return int(self.max_failed_rows)

    def spent_budget(self, *, failed: int, rows: int) -> str:
        """Return what is told when more of `rows` failed than may fail; empty while they are not too many."""
        allowed = self.allowed_failures(rows)
        if allowed is None or failed <= allowed:
            return ""
        return f"{failed} rows failed; --max-failed-rows {self.max_failed_rows} allows {allowed}."


def encode_spec(spec: JobSpec) -> bytes:
    """Return the spec as JSON, versioned; `decode_spec` reads it back."""
    return orjson.dumps({"format": FORMAT, **_to_json(spec)}, option=orjson.OPT_INDENT_2)


def decode_spec(encoded: bytes) -> JobSpec:
    """Read a spec that `encode_spec` wrote. Raises UsageError for another format or what is no spec."""
    try:
        stored = orjson.loads(encoded)
        version = stored.pop("format")
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise UsageError("the stored job spec is damaged: it is not the JSON object that batchctl writes") from None
    if version != FORMAT:
        raise UsageError(f"the stored job spec has format {version!r}, this batchctl reads {FORMAT}: use a newer one")
    return _from_json(stored)


def _to_json(spec: JobSpec) -> dict[str, Any]:
    values = {field.name: getattr(spec, field.name) for field in fields(spec)}
    values["parameters"] = spec.parameters.to_dict()
    for name in _TUPLES:
        values[name] = list(values[name])
    return values


def _from_json(stored: dict[str, Any]) -> JobSpec:
    unknown = stored.keys() - {field.name for field in fields(JobSpec)}
    if unknown:
        raise UsageError(f"the stored job spec has unknown fields, {', '.join(sorted(unknown))}: use a newer batchctl")
    for name in _TUPLES:
        if name in stored:
            stored[name] = tuple(stored[name])
    stored["parameters"] = InferenceParameters.from_dict(stored.get("parameters", {}))
    try:
        return JobSpec(**stored)
    except TypeError as error:
        raise UsageError(f"the stored job spec is damaged: {error}") from None


_TUPLES = ("inputs", "served_model_names", "carry", "retry_codes")
