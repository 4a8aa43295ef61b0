"""The small objects a job leaves in its store, and their JSON.

Every record is written once (heartbeats apart) and carries `"format": 1`.
Knows nothing of keys, stores or the order in which they are written.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

import orjson

from batch.errors import JobFailed, UsageError
from batch.layout import PartKind
from batch.phases import Phase
from batch.result import Usage

FORMAT = 1
PART_KINDS: tuple[PartKind, ...] = ("results", "errors")

Scalar = str | int | float | bool | None
T = TypeVar("T")


class CorruptRecord(JobFailed):
    """A job object is not what this version writes; the message names the key and the field."""

    resumable = False


class ForeignRecord(JobFailed):
    """An object under a job's output belongs to another job; the message names the key."""

    resumable = False


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a job. `process_started` and `boot_id` tell a reused pid from the same process."""

    host: str
    pid: int
    process_started: str = ""
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class Epoch:
    """One attempt's claim on a job; the number is the fencing token."""

    number: int
    holder: Holder
    started_at: str
    options: dict[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Progress:
    """What an attempt says of the whole job: rows counted from its beginning, speeds of this attempt."""

    rows_total: int = 0
    succeeded: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    rows_per_s: float = 0.0
    prompt_tokens_per_s: float = 0.0
    completion_tokens_per_s: float = 0.0
    eta_s: float | None = None
    message: str = ""
    retries: int = 0  # of calls to stores, by this attempt's processes

    @property
    def rows_done(self) -> int:
        """Rows that have a result, of either kind."""
        return self.succeeded + self.failed


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The sign of life of an epoch's owner; `beat` grows by one each time."""

    epoch: int
    beat: int
    at: str
    phase: Phase
    progress: Progress


@dataclass(frozen=True, slots=True)
class Part:
    """One object of lines, by its key under the job's output prefix. `etag`: the version that the store gave it."""

    key: str
    rows: int
    bytes: int
    sha256: str
    etag: str = ""


@dataclass(frozen=True, slots=True)
class OutputParts:
    """The parts of an output, in its order."""

    results: tuple[Part, ...] = ()
    errors: tuple[Part, ...] = ()

    @classmethod
    def joined(cls, outputs: Iterable[OutputParts]) -> OutputParts:
        """The parts of outputs that follow each other."""
        of_each = list(outputs)
        return cls(*(tuple(part for output in of_each for part in output.of(kind)) for kind in PART_KINDS))

    def of(self, kind: PartKind) -> tuple[Part, ...]:
        """Those of one kind."""
        return self.results if kind == "results" else self.errors

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those of both kinds."""
        return self.results + self.errors

    @property
    def by_kind(self) -> list[tuple[PartKind, Part]]:
        """All of them, each with its kind."""
        return [(kind, part) for kind in PART_KINDS for part in self.of(kind)]


@dataclass(frozen=True, slots=True)
class Commit:
    """The receipt that makes a shard's parts the output of that shard.

    `copied`: how many of the succeeded rows got a copy of the answer to an equal request; `usage` has nothing for them.
    `more`: the parts after the first of each kind, where the lines are too many bytes for one.
    """

    shard: int
    epoch: int
    attempt: str
    results: Part | None
    errors: Part | None
    succeeded: int
    failed_by_code: dict[str, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    copied: int = 0
    more: OutputParts = field(default_factory=OutputParts)

    @property
    def failed(self) -> int:
        """Failed rows, over all codes."""
        return sum(self.failed_by_code.values())

    @property
    def tally(self) -> Tally:
        """What it adds to the job's counts."""
        return Tally(self.succeeded, self.failed, self.usage.prompt_tokens, self.usage.completion_tokens)

    @property
    def output(self) -> OutputParts:
        """All the parts that it names."""
        results, errors = ((part,) if part else () for part in (self.results, self.errors))
        return OutputParts(results + self.more.results, errors + self.more.errors)


@dataclass(frozen=True, slots=True)
class Void:
    """A commit that does not count any more, and why: its shard is run again."""

    commit: Commit | None  # None: it could not be read
    reason: str


class StopState(StrEnum):
    """How a job may be told to end before all its rows ran."""

    CANCELLED = "CANCELLED"
    EXPIRED = "EXPIRED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Tally:
    """Rows that have a result, and the tokens that took."""

    succeeded: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def rows(self) -> int:
        """Rows that have a result, of either kind."""
        return self.succeeded + self.failed

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.succeeded + other.succeeded,
            self.failed + other.failed,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """What an engine has to do, as it says itself: sequences it computes, and those it has no room for yet.

    `kv_cache_use`: the share of its KV cache that is taken. `preemptions`: sequences that had to give way, so far.
    """

    running: int
    waiting: int
    kv_cache_use: float
    preemptions: int


@dataclass(frozen=True, slots=True)
class EngineReport:
    """What is known of one engine: its phase, by shard number the rows that wait for a commit, its retries.

    `in_flight`: rows that it was asked for; `in_line`: rows that are read and not asked for yet.
    """

    epoch: int
    name: str
    phase: Phase
    open: dict[str, Tally] = field(default_factory=dict)
    retries: int = 0
    in_flight: int = 0
    in_line: int = 0
    load: EngineLoad | None = None


@dataclass(frozen=True, slots=True)
class Crash:
    """What was in flight when an engine died: rows, by the names that `pipelines.shards.runner` gives them."""

    epoch: int
    engine: str
    rows: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """The request to end a job early; the first one stands."""

    state: StopState
    message: str
    at: str


class Exit(StrEnum):
    """How an attempt ended; a crash leaves no such record."""

    FAILED = "failed"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class AttemptEnd:
    """An attempt's last words."""

    epoch: int
    exit: Exit
    message: str
    at: str
    resumable: bool = True  # whether the same command goes on with the job


def encode_record(record: object) -> bytes:
    """One JSON object of the dataclass's fields plus `format`. UsageError for what is no JSON, as half a character."""
    try:
        # A row's code, a StrEnum, may be a key; orjson takes those under this option only.
        body = orjson.dumps(record, option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise UsageError(f"{type(record).__name__}: a value cannot be stored as JSON: {error}") from None
    return b'{"format":%d,%b' % (FORMAT, body[1:])


def decode_record(kind: type[T], content: bytes, *, key: str) -> T:
    """The record that `encode_record` wrote. CorruptRecord names the key, the field and the value."""
    try:
        fields_by_name = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise CorruptRecord(f"{key}: not JSON ({error}); something else than batchctl wrote or cut it") from None
    if not isinstance(fields_by_name, dict) or fields_by_name.pop("format", None) != FORMAT:
        raise CorruptRecord(f"{key}: not a format {FORMAT} record; another version of batchctl wrote it, use that one")
    fields_by_name.pop("life", None)  # whose record it is: `batch.jobs.own_objects` has looked
    return typing.cast(T, _build(kind, fields_by_name, key))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _build(kind: type, given: object, where: str) -> object:
    if not isinstance(given, dict):
        raise CorruptRecord(f"{where}: expected an object, found {given!r:.80}")
    hints = _hints(kind)
    unknown = sorted(given.keys() - hints.keys())
    if unknown:
        raise CorruptRecord(f"{where}: unknown field {unknown[0]!r}; a newer batchctl wrote it, use that one")
    values = {name: _value(hints[name], value, f"{where}: {name}") for name, value in given.items()}
    try:
        return kind(**values)
    except TypeError as error:  # names the fields that are missing
        raise CorruptRecord(f"{where}: {error}") from None


def _value(hint: Any, given: object, where: str) -> object:
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _union_value(typing.get_args(hint), given, where)
    if origin in (tuple, dict):
        return _container_value(hint, given, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, given, where)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _enum_value(hint, given, where)
    if hint is float and type(given) is int:
        return float(given)
    if hint is object or type(given) is hint:
        return given
    raise CorruptRecord(f"{where}: expected {getattr(hint, '__name__', hint)}, found {given!r:.80}")


def _union_value(choices: tuple[Any, ...], given: object, where: str) -> object:
    if given is None and types.NoneType in choices:
        return None
    if type(given) in choices:
        return given
    compound = [choice for choice in choices if choice not in (types.NoneType, str, int, bool)]
    if len(compound) == 1:
        return _value(compound[0], given, where)
    raise CorruptRecord(f"{where}: expected one of {choices}, found {given!r:.80}")


def _container_value(hint: Any, given: object, where: str) -> object:
    item = typing.get_args(hint)[1 if typing.get_origin(hint) is dict else 0]
    if typing.get_origin(hint) is dict and isinstance(given, dict):
        return {name: _value(item, value, f"{where}.{name}") for name, value in given.items()}
    if typing.get_origin(hint) is tuple and isinstance(given, list):
        return tuple(_value(item, value, f"{where}[{index}]") for index, value in enumerate(given))
    raise CorruptRecord(f"{where}: expected {hint}, found {given!r:.80}")


def _enum_value(kind: type[StrEnum], given: object, where: str) -> StrEnum:
    try:
        return kind(str(given))
    except ValueError:
        allowed = ", ".join(kind)
        raise CorruptRecord(f"{where}: {given!r:.80} is not one of {allowed}") from None
