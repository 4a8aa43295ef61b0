"""How rows begin, and how much of that an engine would compute more than once: cheap, and in memory that is bounded.

Texts are those of the lines from their messages, prompt or input on, in bytes. Knows nothing of tokens and engines.
"""

from __future__ import annotations

import struct
from zlib import crc32

from batch.rows.request import INPUTS, Decoder, Request
from batch.spec.job_spec import JobSpec
from connectors.datasets.lines import Line

WINDOW_ROWS = 8192
"""Rows that one engine has open at a time, among which those that share a prefix follow each other anyway."""

_CUTS_BYTES = (256, 512, 1024, 2048, 4096, 8192)
_KEY = struct.Struct(f">{len(_CUTS_BYTES)}I")
_FIELDS = tuple(f'"{name}"'.encode() for name in INPUTS)
_MOST_KEPT = 1 << 16


class PromptReader:
    """Tells what one job's lines begin with. Made once for all lines of a job."""

    def __init__(self, spec: JobSpec) -> None:
        has_template = spec.prompt_template is not None or spec.messages_template is not None
        self._decoder = Decoder(spec) if has_template else None

    def text(self, file: str, line: Line) -> bytes:
        """Return what an engine reads of the line, from its first token on; of a line that is no request, all of it."""
        if self._decoder is not None:
            request = self._decoder.decode(file, line)
            if not isinstance(request, Request):
                return line.raw
            return repr(next((request.body[name] for name in INPUTS if name in request.body), request.body)).encode()
        found = next((at for at in map(line.raw.find, _FIELDS) if at >= 0), 0)
        return line.raw[found:]


def digests(text: bytes) -> tuple[int, ...]:
    """Return checksums of the first 256 bytes, the first 512, and so on to 8,192; those past its end are its own."""
    found, start, digest = [], 0, 0
    for end in _CUTS_BYTES:
        digest = crc32(text[start:end], digest)
        found.append(digest)
        start = end
    return tuple(found)


def sort_key(text: bytes) -> bytes:
    """Return 24 bytes in whose order texts that share a prefix stand together, those with a longer one closer."""
    return _KEY.pack(*digests(text))


class Survey:
    """Takes the texts of a file's rows in order; tells how much of them is a prefix that rows share, near and far.

    Counts what an engine computes if it knows all that a window of consecutive rows begins with and nothing of the
    window before, and what it computes if it sees each beginning once. A window ends after `WINDOW_ROWS` rows or
    `window_bytes`. A shared prefix is counted up to the last power of two, so the shares are rather too small.
    """

    def __init__(self, window_bytes: float) -> None:
        self._window_bytes = window_bytes
        self._window: set[int] = set()
        self._rows_in_window = self._bytes_in_window = 0
        self._all_bytes = self._once_a_window_bytes = self._alike_bytes = 0
        self._beginnings = _DistinctBytes()

    def add(self, text: bytes) -> None:
        """Take the next row's text. About 4 us."""
        if self._rows_in_window == WINDOW_ROWS or self._bytes_in_window >= self._window_bytes:
            self._window.clear()
            self._rows_in_window = self._bytes_in_window = 0
        self._rows_in_window += 1
        self._bytes_in_window += len(text)
        self._all_bytes += len(text)
        new_bytes = self._add_beginnings(text)
        self._once_a_window_bytes += new_bytes
        seen_bytes = min(len(text), _CUTS_BYTES[-1]) - new_bytes
        if seen_bytes < len(text):  # else an equal request, which is asked once and has nothing computed for it
            self._alike_bytes += seen_bytes

    def saving(self) -> float:
        """Return the share, 0 to 1, of the texts' bytes that each window computes but an earlier one had too."""
        saved = self._once_a_window_bytes - self._beginnings.total_bytes()
        return max(0.0, saved / self._all_bytes) if self._all_bytes else 0.0

    def alike(self) -> float:
        """Return the share of the texts' bytes that another row of the window begins with too, equal rows left out."""
        return self._alike_bytes / self._all_bytes if self._all_bytes else 0.0

    def _add_beginnings(self, text: bytes) -> int:
        """Return how many bytes of a text, up to the last cut, its window had not seen before."""
        new_bytes = start = 0
        for end, digest in zip(_CUTS_BYTES, digests(text), strict=True):
            if digest not in self._window:
                self._window.add(digest)
                size_bytes = min(end, len(text)) - start
                new_bytes += size_bytes
                self._beginnings.add(digest, size_bytes)
            start = end
            if start >= len(text):
                break
        return new_bytes


class _DistinctBytes:
    """Sums the sizes of different things, each however often it comes: by a sample of at most 65,536 of them.

    Distinct sampling (Gibbons, VLDB 2001): kept are those whose digest divides by a power of two, which doubles when
    they are too many. Exact up to there, then within about half a percent.
    """

    def __init__(self) -> None:
        self._every = 1
        self._kept: dict[int, int] = {}

    def add(self, digest: int, size_bytes: int) -> None:
        if digest % self._every:
            return
        self._kept[digest] = size_bytes
        if len(self._kept) > _MOST_KEPT:
            self._every *= 2
            self._kept = {kept: size for kept, size in self._kept.items() if kept % self._every == 0}

    def total_bytes(self) -> int:
        return self._every * sum(self._kept.values())
