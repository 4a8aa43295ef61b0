"""Which rows engines died with: a row that several engines died of is asked no more.

Knows nothing of how a death is noticed and of where it is recorded.
"""

from collections.abc import Mapping

from batch.rows.request import Request
from pipelines.shards.dedup import request_key
from pipelines.shards.journal import Past

RowPlace = tuple[int, int]
"""Shard of a row, and its number there."""


class CrashBlame:
    """The blame that earlier engines have left to rows, and what this one leaves to those after it.

    `shares_answers`: equal requests are asked once; rows that share an answer share the blame, too.
    """

    def __init__(self, past: Past, *, shares_answers: bool) -> None:
        self._deaths = past.deaths
        self._shares_answers = shares_answers
        self.died_with: tuple[str, ...] = ()
        """The names of the rows that were in flight when this engine died."""

    def deaths(self, place: RowPlace, request: Request) -> int:
        """How many engines died while this row was in flight, or one that it shares its answer with."""
        return self._deaths.get(self._name(place, request), 0) if self._deaths else 0

    def note_death(self, in_flight: Mapping[RowPlace, Request]) -> None:
        """Blame the rows that are in flight; those that hear of the death later find the blame given."""
        self.died_with = self.died_with or tuple(sorted({self._name(*asked) for asked in in_flight.items()}))

    def _name(self, place: RowPlace, request: Request) -> str:
        shard, line = place
        key = request_key(request) if self._shares_answers else None
        return f"{shard}:{line}" if key is None else key.hex()
