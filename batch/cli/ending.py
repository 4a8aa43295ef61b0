"""The end of a job as the command line tells it: the summary, and the exit code that a state stands for."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from batch.clock import parse_rfc3339
from batch.display import EXAMPLES_PER_CODE, Example, duration, failure_lines, number, size
from batch.manifest import FinalState, Manifest

if TYPE_CHECKING:
    from batch.job_store import JobStore

EXIT_CODES = {FinalState.COMPLETED: 0, FinalState.FAILED: 1, FinalState.CANCELLED: 3, FinalState.EXPIRED: 4}
# A job may have millions of failed rows; examples are worth reading only so many.
_READ_ERROR_LINES = 20_000


def summary(job_store: JobStore, manifest: Manifest, *, as_json: bool) -> str:
    """The ledger for a person, with three examples of each code; or as one JSON object."""
    examples = find_examples(job_store, manifest)
    return _as_json(job_store.uri, manifest, examples) if as_json else _as_text(job_store.uri, manifest, examples)


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


def _first(lines: Iterable[bytes], limit: int) -> Iterator[bytes]:
    for count, line in enumerate(lines):
        if count >= limit:
            return
        yield line


def _examples(lines: Iterable[bytes]) -> Iterator[Example]:
    for line in lines:
        written = json.loads(line)
        error = written["error"]
        place = f"{error['file']}:{error['line']}"
        yield Example(error["code"], written["custom_id"], place, error["message"])


def _took_s(manifest: Manifest) -> float:
    return (parse_rfc3339(manifest.finished_at) - parse_rfc3339(manifest.started_at)).total_seconds()


def _files(uri: str, manifest: Manifest) -> list[tuple[str, int, int]]:
    kinds = (("results", manifest.results), ("errors", manifest.errors))
    return [(f"{uri.rstrip('/')}/{kind}", len(parts), sum(p.bytes for p in parts)) for kind, parts in kinds if parts]


def _as_text(uri: str, manifest: Manifest, examples: list[Example]) -> str:
    usage, took_s = manifest.usage, _took_s(manifest)
    rows = manifest.succeeded + manifest.failed
    attempts = "" if manifest.attempts == 1 else f" and {manifest.attempts} attempts"
    cached = f" ({usage.cached_tokens:,} of them cached)" if usage.cached_tokens else ""
    lines = [
        f"{manifest.job_id} {manifest.state.value.lower()} after {duration(took_s)}{attempts}",
        f"  rows    {manifest.succeeded:,} succeeded, {manifest.failed:,} failed, {manifest.blank:,} blank: "
        f"{manifest.lines:,} lines in",
        f"  tokens  {usage.prompt_tokens:,} in{cached}, {usage.completion_tokens:,} out",
    ]
    if took_s > 0:
        speed = f"{number(rows / took_s)} rows/s, {number(usage.prompt_tokens / took_s)} tokens/s in"
        lines.append(f"  speed   {speed}, {number(usage.completion_tokens / took_s)} out")
    lines += [f"  failed  {line}" for line in failure_lines(manifest.failed_by_code, examples)]
    for path, parts, count_bytes in _files(uri, manifest):
        lines.append(f"  files   {path} ({parts:,} part{'s' if parts != 1 else ''}, {size(count_bytes)})")
    lines.append(f"  ledger  {uri.rstrip('/')}/manifest.json")
    return "\n".join(lines)


def _as_json(uri: str, manifest: Manifest, examples: list[Example]) -> str:
    took_s = _took_s(manifest)
    rows = manifest.succeeded + manifest.failed
    shown: dict[str, Any] = {
        "job_id": manifest.job_id,
        "state": manifest.state.value,
        "output": uri,
        "lines": manifest.lines,
        "blank": manifest.blank,
        "succeeded": manifest.succeeded,
        "failed": manifest.failed,
        "failed_by_code": manifest.failed_by_code,
        "failures": [
            {"code": e.code, "custom_id": e.custom_id, "place": e.place, "message": e.message} for e in examples
        ],
        "prompt_tokens": manifest.usage.prompt_tokens,
        "completion_tokens": manifest.usage.completion_tokens,
        "cached_tokens": manifest.usage.cached_tokens,
        "attempts": manifest.attempts,
        "took_s": round(took_s, 3),
        "rows_per_s": round(rows / took_s, 3) if took_s > 0 else None,
        "files": [path for path, _, _ in _files(uri, manifest)] + [f"{uri.rstrip('/')}/manifest.json"],
    }
    return json.dumps(shown, ensure_ascii=False)
