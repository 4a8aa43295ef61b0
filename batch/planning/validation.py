"""Validation: every line of a planned job decoded, every bad one told, without an engine.

Knows nothing of tokens: counts characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from batch.planning.plan import PROGRESS_LINES, Plan, read_lines
from batch.result import RowFailure
from batch.rows.request import Decoder, Request
from batch.spec.job_spec import JobSpec


@dataclass(frozen=True, slots=True)
class Validation:
    """What the inputs hold. `prompt_characters`: of the good rows, without images and templates."""

    lines: int
    blank: int
    rows: int
    failed_by_code: dict[str, int]
    prompt_characters: int

    @property
    def failed(self) -> int:
        return sum(self.failed_by_code.values())


def find_failures(spec: JobSpec, plan: Plan, heed: Callable[[], object] = lambda: None) -> Iterator[RowFailure]:
    """Yield every bad row in input order, duplicates included; what `heed` raises ends it. Raises InputChanged."""
    return (decoded for decoded in decode_all(spec, plan, heed) if isinstance(decoded, RowFailure))


def validate(
    spec: JobSpec,
    plan: Plan,
    on_failure: Callable[[RowFailure], None] = lambda _: None,
    on_progress: Callable[[int, int], None] = lambda _rows, _failed: None,
) -> Validation:
    """Decode every row; give each bad one to `on_failure`, in input order. Raises InputChanged.

    `on_progress` gets the rows so far, and how many of them are bad.
    """
    codes: Counter[str] = Counter()
    characters = 0
    for rows, decoded in enumerate(decode_all(spec, plan)):
        if rows and rows % PROGRESS_LINES == 0:
            on_progress(rows, codes.total())
        if isinstance(decoded, RowFailure):
            codes[decoded.code.value] += 1
            on_failure(decoded)
        else:
            characters += prompt_characters(decoded)
    return Validation(plan.lines, plan.blank, plan.rows, dict(sorted(codes.items())), characters)


def decode_all(spec: JobSpec, plan: Plan, heed: Callable[[], object] = lambda: None) -> Iterator[Request | RowFailure]:
    """Yield what each non-blank line of the plan's inputs decodes to, in input order. Raises InputChanged."""
    decoder = Decoder(spec)
    repeated_lines = plan.repeated_lines()
    for index, planned in enumerate(plan.inputs):
        repeated = repeated_lines.get(index, set())
        for line in read_lines(spec, planned, heed):
            if not line.is_blank:
                yield decoder.decode(planned.uri, line, duplicate=line.number in repeated)


def prompt_characters(request: Request) -> int:
    """Return the length of the texts that a request asks about."""
    body = request.body
    return sum(_characters(body.get(name)) for name in ("messages", "prompt", "input"))


def _characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, list):
        return sum(_characters(member) for member in value)
    if isinstance(value, dict):
        return sum(_characters(value.get(name)) for name in ("content", "text"))
    return 0
