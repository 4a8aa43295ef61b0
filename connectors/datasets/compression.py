"""Decompressed blocks of gzip and zstd streams, with limits. Knows nothing of lines.

An end in the middle of a stream and damaged bytes are never silent: they raise CutShort.
"""

import zlib
from collections.abc import Iterator
from contextlib import suppress

from connectors.datasets.lines import CutShort

BLOCK_BYTES = 1 << 20
MAX_RATIO = 200
FREE_BYTES = 64 << 20
MAX_WINDOW_BYTES = 1 << 27
# One zstd call gives all its output at once, up to 32,768 times its input: 64 MiB for this feed.
_ZSTD_FEED_BYTES = 2048


def decompressed(compressed: Iterator[bytes], suffix: str) -> Iterator[bytes]:
    """Blocks of the text inside a "gz" or "zst" stream, all its members or frames.

    Raises CutShort "truncated" (early end, damage, foreign bytes) or "expansion_limit" (more than 200 times its input
    after the first 64 MiB, or a zstd window over 128 MiB).
    """
    return _joined({"gz": _gunzip, "zst": _unzstd}[suffix](compressed))


class _Gauge:
    """Compares what went in with what came out."""

    def __init__(self) -> None:
        self._in_bytes = 0
        self._out_bytes = 0

    def check(self, in_bytes: int, out_bytes: int) -> None:
        self._in_bytes += in_bytes
        self._out_bytes += out_bytes
        if self._out_bytes > max(FREE_BYTES, MAX_RATIO * self._in_bytes):
            raise CutShort("expansion_limit")


def _gunzip(compressed: Iterator[bytes]) -> Iterator[bytes]:
    gauge = _Gauge()
    member, has_begun, is_padding_allowed = zlib.decompressobj(wbits=31), False, False
    for block in compressed:
        rest, text = block, b""
        # Without a rest there may be text left inside the member: a full answer says so.
        while rest or len(text) == BLOCK_BYTES:
            if member.eof:
                member, has_begun, is_padding_allowed = zlib.decompressobj(wbits=31), False, True
            if is_padding_allowed and not has_begun and not (rest := rest.lstrip(b"\0")):
                break
            has_begun = True
            fed_bytes, text = len(rest), _inflate(member, rest)
            rest = member.unused_data if member.eof else member.unconsumed_tail
            gauge.check(fed_bytes - len(rest), len(text))
            yield text
    if not member.eof and (has_begun or not is_padding_allowed):
        raise CutShort("truncated")


def _inflate(member: "zlib._Decompress", block: bytes) -> bytes:
    try:
        return member.decompress(block, BLOCK_BYTES)
    except zlib.error:
        raise CutShort("truncated") from None


def _unzstd(compressed: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    gauge = _Gauge()
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    frame = None
    for feed in _feeds(compressed):
        gauge.check(len(feed), 0)
        rest = feed
        while rest:
            if frame is None or frame.eof:
                _refuse_wide_window(rest)
                frame = decompressor.decompressobj()
            try:
                text = frame.decompress(rest)
            except zstandard.ZstdError:
                raise CutShort("truncated") from None
            rest = frame.unused_data if frame.eof else b""
            gauge.check(0, len(text))
            yield from (text[at : at + BLOCK_BYTES] for at in range(0, len(text), BLOCK_BYTES))
    if frame is None or not frame.eof:
        raise CutShort("truncated")


def _feeds(compressed: Iterator[bytes]) -> Iterator[bytes]:
    for block in compressed:
        for start in range(0, len(block), _ZSTD_FEED_BYTES):
            yield block[start : start + _ZSTD_FEED_BYTES]


def _refuse_wide_window(head: bytes) -> None:
    import zstandard

    # A header cut by the end of the feed cannot be judged here; the decompressor refuses such a window itself.
    with suppress(zstandard.ZstdError):
        if zstandard.get_frame_parameters(head).window_size > MAX_WINDOW_BYTES:
            raise CutShort("expansion_limit")


def _joined(texts: Iterator[bytes]) -> Iterator[bytes]:
    """The same text in blocks of at least BLOCK_BYTES / 4, so that few lines lie across two."""
    held: list[bytes] = []
    held_bytes = 0
    try:
        for text in texts:
            held.append(text)
            held_bytes += len(text)
            if held_bytes >= BLOCK_BYTES // 4:
                yield b"".join(held)
                held, held_bytes = [], 0
    except CutShort:
        yield b"".join(held)
        raise
    yield b"".join(held)
