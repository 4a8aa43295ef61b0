"""The plan: which lines of which files make the shards of a job, made once and stored.

Every attempt works on the stored plan. Knows nothing of engines and attempts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batch.spec import JobSpec
    from connectors.inputs import Piece


@dataclass(frozen=True, slots=True)
class PlannedInput:
    """One input file as it was when planned; `etag` identifies that content."""

    uri: str
    size_bytes: int
    etag: str
    format: str
    lines: int
    blank: int


@dataclass(frozen=True, slots=True)
class Shard:
    """The unit of work and of commit: a piece of `inputs[input]`, with the line numbers that repeat a custom_id."""

    index: int
    input: int
    piece: Piece
    duplicates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """All shards of a job, in input order: together they hold every non-blank line once."""

    inputs: tuple[PlannedInput, ...]
    shards: tuple[Shard, ...]

    @property
    def lines(self) -> int:
        return sum(planned.lines for planned in self.inputs)

    @property
    def blank(self) -> int:
        return sum(planned.blank for planned in self.inputs)

    @property
    def rows(self) -> int:
        return self.lines - self.blank


def make_plan(spec: JobSpec, on_progress: Callable[[int], None] = lambda lines: None, max_replicas: int = 1) -> Plan:
    """Read every input once and cut it into shards."""
    raise NotImplementedError


def encode_plan(plan: Plan) -> bytes:
    raise NotImplementedError


def decode_plan(encoded: bytes) -> Plan:
    raise NotImplementedError
