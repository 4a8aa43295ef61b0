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
VOID_PREFIX = "_job/voids/"
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


def commit(shard: int, redo: int = 0) -> str:
    """The commit of a shard; `redo`: how many of its commits are void."""
    return f"{COMMIT_PREFIX}{_commit_name(shard, redo)}"


def void(shard: int, redo: int) -> str:
    """What says that a commit does not count."""
    return f"{VOID_PREFIX}{_commit_name(shard, redo)}"


def log(number: int) -> str:
    """The log of attempt `number`."""
    return f"_job/logs/attempt-{number:08d}.log"


def part(kind: PartKind, shard: int, attempt: str, suffix: str = "jsonl") -> str:
    """A part's key: unique per shard and attempt, so that two writers never meet."""
    return f"{kind}/part-{shard:05d}-{attempt}.{suffix}"


def further(attempt: str, number: int) -> str:
    """The name of a try at a shard in the key of its part `number`, counted from 0: the keys sort as the parts do."""
    return f"{attempt}_{number:04d}" if number else attempt


def is_part(kind: str, key: str) -> bool:
    """Whether a key is one of a part: a plain name in the folder of its kind."""
    name = key.removeprefix(f"{kind}/")
    return key == f"{kind}/{name}" and name.startswith("part-") and "/" not in name


def epoch_number(key: str) -> int | None:
    """The number of an epoch's key; None for any other key."""
    digits = key.removeprefix(EPOCH_PREFIX).removesuffix(_JSON)
    return int(digits) if key == f"{EPOCH_PREFIX}{digits}{_JSON}" and _is_number(digits) else None


def shard_and_redo(key: str) -> tuple[int, int] | None:
    """Which commit of which shard a key names, the commit's own or its void's; None for any other key."""
    name = key.rpartition("/")[2]
    shard, _, redo = name.removesuffix(_JSON).partition(".")
    if not _is_number(shard) or not _is_number(redo or "0") or name != _commit_name(int(shard), int(redo or "0")):
        return None
    return int(shard), int(redo or "0")


def _commit_name(shard: int, redo: int) -> str:
    return f"{shard:08d}.{redo}{_JSON}" if redo else f"{shard:08d}{_JSON}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()
