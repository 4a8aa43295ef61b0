"""Every key under a job's output prefix, and nowhere else.

Knows nothing of what stands at the keys.
"""

from typing import Literal

PartKind = Literal["results", "errors"]

SPEC = "_job/spec.json"
PLAN = "_job/plan.json"
STOP = "_job/stop.json"
MANIFEST = "manifest.json"

JOB_PREFIX = "_job/"
PROBE_PREFIX = "_job/probes/"
EPOCH_PREFIX = "_job/epochs/"
COPIES_PREFIX = "_job/copies/"
JOURNAL_PREFIX = "_job/journal/"
CRASH_PREFIX = "_job/crashes/"
COMMIT_PREFIX = "_job/commits/"
RESULTS_PREFIX = "results/"
ERRORS_PREFIX = "errors/"

_JSON = ".json"
_END = ".end.json"


def epoch(number: int) -> str:
    """The claim of attempt `number`."""
    return f"{EPOCH_PREFIX}{number:08d}{_JSON}"


def attempt_end(number: int) -> str:
    """The last words of attempt `number`."""
    return f"{EPOCH_PREFIX}{number:08d}{_END}"


def heartbeat(number: int) -> str:
    """The epoch's sign of life; overwritten by its owner only."""
    return f"_job/heartbeats/{number:08d}{_JSON}"


def engine_reports(epoch_number: int) -> str:
    """The prefix of what the engines of an attempt say of themselves."""
    return f"_job/engines/{epoch_number:08d}/"


def engine_report(epoch_number: int, name: str) -> str:
    """One engine's word on itself; overwritten by that engine only."""
    return f"{engine_reports(epoch_number)}{name}{_JSON}"


def copy(digest: str) -> str:
    """Lines of the input in another order, named by their content."""
    return f"{COPIES_PREFIX}{digest}.lines"


def segment(epoch_number: int, engine: str, number: int) -> str:
    """A segment of an engine's journal."""
    return f"{JOURNAL_PREFIX}{epoch_number:08d}/{engine}-{number:06d}.jsonl.zst"


def crash(epoch_number: int, engine: str) -> str:
    """The rows that were in flight when an engine died."""
    return f"{CRASH_PREFIX}{epoch_number:08d}-{engine}{_JSON}"


def commit(shard: int) -> str:
    """The commit of a shard."""
    return f"{COMMIT_PREFIX}{shard:08d}{_JSON}"


def log(number: int) -> str:
    """The log of attempt `number`."""
    return f"_job/logs/attempt-{number:08d}.log"


def part(kind: PartKind, shard: int, attempt: str, suffix: str = "jsonl") -> str:
    """A part's key: unique per shard and attempt, so that two writers never meet."""
    return f"{kind}/part-{shard:05d}-{attempt}.{suffix}"


def epoch_number(key: str) -> int | None:
    """The number of an epoch's key; None for any other key."""
    return _number(key, EPOCH_PREFIX)


def commit_shard(key: str) -> int | None:
    """The shard of a commit's key; None for any other key."""
    return _number(key, COMMIT_PREFIX)


def _number(key: str, prefix: str) -> int | None:
    digits = key.removeprefix(prefix).removesuffix(_JSON)
    return int(digits) if key == f"{prefix}{digits}{_JSON}" and digits.isascii() and digits.isdigit() else None
