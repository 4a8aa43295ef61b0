"""The end of a job as the command line tells it: the summary."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from batch.clock import parse_rfc3339
from batch.records.manifest import Manifest, reason_of
from batch.text import address, duration, number, one_line, shortened, size

if TYPE_CHECKING:
    from batch.jobs.store import JobStore

EXAMPLES_PER_CODE = 3
# A job may have millions of failed rows; examples are worth reading only so many.
_READ_ERROR_LINES = 20_000


@dataclass(frozen=True, slots=True)
class Example:
    """One failed row as the summary shows it: where, what its custom_id is (None = none) and why."""

    code: str
    custom_id: str | None
    place: str
    message: str


def summary(job_store: JobStore, manifest: Manifest, *, as_json: bool) -> str:
    """The ledger for a person, with three examples of each code; or as one JSON object."""
    reason = reason_of(manifest, job_store.spec(), job_store.stop())
    examples, retries = find_examples(job_store, manifest), count_retries(job_store)
    told = Told(job_store.uri, manifest, examples, reason, retries)
    return _as_json(told) if as_json else _as_text(told)


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of a job that ended. `reason`: why it ended early or without answers; empty when it did not."""

    uri: str
    manifest: Manifest
    examples: list[Example]
    reason: str
    retries: int

    @property
    def took_s(self) -> float:
        """From the start of the first attempt to the end of the last one, pauses between them included."""
        manifest = self.manifest
        return (parse_rfc3339(manifest.finished_at) - parse_rfc3339(manifest.started_at)).total_seconds()

    @property
    def files(self) -> list[tuple[str, int, int]]:
        """(folder, parts, bytes) of results and errors, as far as there are any."""
        kinds = (("results", self.manifest.results), ("errors", self.manifest.errors))
        return [
            (f"{self.uri.rstrip('/')}/{kind}", len(parts), sum(part.bytes for part in parts))
            for kind, parts in kinds
            if parts
        ]

    def per_second(self, count: int) -> float | None:
        """A speed over the whole job; None where pauses between attempts would falsify it."""
        return count / self.took_s if self.took_s > 0 and self.manifest.attempts == 1 else None


def find_examples(job_store: JobStore, manifest: Manifest) -> list[Example]:
    """At most three failed rows of each code, the first ones in input order."""
    wanted = {code: min(rows, EXAMPLES_PER_CODE) for code, rows in manifest.failed_by_code.items() if rows}
    found: list[Example] = []
    if not wanted:
        return found
    for example in _examples(_first(job_store.lines("errors"), _READ_ERROR_LINES)):
        if wanted.get(example.code, 0) > 0:
            wanted[example.code] -= 1
            found.append(example)
        if not any(wanted.values()):
            break
    return found


def count_retries(job_store: JobStore) -> int:
    """How many calls to stores were tried again, over all attempts, as their last heartbeats say."""
    heartbeats = (job_store.heartbeat(number) for number in job_store.epoch_numbers())
    return sum(heartbeat.progress.retries for heartbeat in heartbeats if heartbeat is not None)


def _first(lines: Iterable[bytes], limit: int) -> Iterator[bytes]:
    for count, line in enumerate(lines):
        if count >= limit:
            return
        yield line


def _examples(lines: Iterable[bytes]) -> Iterator[Example]:
    for line in lines:
        written = json.loads(line)
        error = written["error"]
        place = f"{address(error['file'])}:{error['line']}"
        yield Example(error["code"], written["custom_id"], place, error["message"])


def _as_text(told: Told) -> str:
    manifest, usage = told.manifest, told.manifest.usage
    attempts = "" if manifest.attempts == 1 else f" and {manifest.attempts} attempts"
    reason = f": {one_line(told.reason)}" if told.reason else ""
    cached = f" ({usage.cached_tokens:,} of them cached)" if usage.cached_tokens else ""
    lines = [
        f"{manifest.job_id} {manifest.state.value.lower()} after {duration(told.took_s)}{attempts}{reason}",
        f"  rows    {manifest.succeeded:,} succeeded, {manifest.failed:,} failed, {manifest.blank:,} blank: "
        f"{manifest.lines:,} lines in",
        f"  tokens  {usage.prompt_tokens:,} in{cached}, {usage.completion_tokens:,} out",
        *_speed_line(told),
    ]
    for line in failure_lines(manifest.failed_by_code, told.examples):
        lines.append(f"          {line}" if line.startswith(" ") else f"  failed  {line}")
    for path, parts, count_bytes in told.files:
        lines.append(f"  files   {address(path)} ({parts:,} part{'s' if parts != 1 else ''}, {size(count_bytes)})")
    if told.retries:
        lines.append(f"  retries {told.retries:,} call{'s' if told.retries != 1 else ''} to a store tried again")
    lines.append(f"  ledger  {address(told.uri.rstrip('/'))}/manifest.json")
    return "\n".join(lines)


def _speed_line(told: Told) -> list[str]:
    manifest, usage = told.manifest, told.manifest.usage
    counts = (manifest.succeeded, usage.prompt_tokens, usage.completion_tokens)
    rows, read, written = (told.per_second(count) for count in counts)
    if rows is None or read is None or written is None:
        return []
    return [f"  speed   {number(rows)} rows/s, {number(read)} tokens/s in, {number(written)} out"]


def _as_json(told: Told) -> str:
    manifest = told.manifest
    rows_per_s = told.per_second(manifest.succeeded)
    shown: dict[str, Any] = {
        "job_id": manifest.job_id,
        "state": manifest.state.value,
        "message": told.reason,
        "exit_code": manifest.exit_code,
        "output": told.uri,
        "lines": manifest.lines,
        "blank": manifest.blank,
        "succeeded": manifest.succeeded,
        "failed": manifest.failed,
        "failed_by_code": manifest.failed_by_code,
        "failures": [asdict(example) for example in told.examples],
        "prompt_tokens": manifest.usage.prompt_tokens,
        "completion_tokens": manifest.usage.completion_tokens,
        "cached_tokens": manifest.usage.cached_tokens,
        "attempts": manifest.attempts,
        "retries": told.retries,
        "took_s": round(told.took_s, 3),
        "rows_per_s": None if rows_per_s is None else round(rows_per_s, 3),
        "files": [path for path, _, _ in told.files] + [f"{told.uri.rstrip('/')}/manifest.json"],
    }
    return json.dumps(shown, ensure_ascii=False)


def failure_lines(failed_by_code: Mapping[str, int], examples: Sequence[Example]) -> list[str]:
    """The codes, most frequent first, each with its examples below it."""
    lines = []
    for code, count in sorted(failed_by_code.items(), key=lambda item: (-item[1], item[0])):
        lines.append(f"{code} {count:,}")
        shown = [each for each in examples if each.code == code][:EXAMPLES_PER_CODE]
        for example in shown:
            custom_id = "" if example.custom_id is None else f" ({shortened(example.custom_id, 60)})"
            lines.append(f"  {shortened(example.place, 200)}{custom_id}: {shortened(example.message, 200)}")
        lines += [f"  and {count - len(shown):,} more"] if 0 < len(shown) < count else []
    return lines
