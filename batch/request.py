"""Decoding: one line of a dataset becomes the request that it asks for, or the failure that it is.

Knows nothing of where lines come from, and of engines only the names of the endpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from batch.result import RowFailure
from batch.spec import JobSpec

if TYPE_CHECKING:
    from connectors.lines import Line


@dataclass(frozen=True, slots=True)
class Request:
    """One row to run. `body` is complete: the engine gets it as it is."""

    custom_id: str
    endpoint: str
    body: dict[str, Any]
    metadata: dict[str, object] | None = None


class Decoder:
    """Decodes the lines of one job. One instance serves any number of files and threads."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec

    def decode(self, file: str, line: Line, *, duplicate: bool = False) -> Request | RowFailure:
        """Return what the line asks for, or why it cannot run. Never raises, whatever the bytes."""
        raise NotImplementedError

    def custom_id(self, file: str, line: Line) -> str | None:
        """Return the id that the row was given, or None where it has none of its own or cannot be read."""
        raise NotImplementedError
