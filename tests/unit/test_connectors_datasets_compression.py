import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable, Iterator

import pytest
import zstandard

from connectors.datasets.compression import decompressed
from connectors.datasets.lines import CutShort

TEXT = b"".join(b'{"n": %d}\n' % n for n in range(200_000))


def zstd(text: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(text)


PACKERS: list[tuple[str, Callable[[bytes], bytes]]] = [("gz", gzip.compress), ("zst", zstd)]
both = pytest.mark.parametrize(("suffix", "pack"), PACKERS)


def in_blocks(content: bytes, size_bytes: int) -> Iterator[bytes]:
    return (content[at : at + size_bytes] for at in range(0, len(content), size_bytes))


def read(content: bytes, suffix: str, size_bytes: int = 1 << 20) -> bytes:
    return b"".join(decompressed(in_blocks(content, size_bytes), suffix))


def read_until_cut(content: bytes, suffix: str) -> tuple[bytes, str | None]:
    read, blocks = b"", decompressed(in_blocks(content, 1 << 20), suffix)
    try:
        for block in blocks:
            read += block
    except CutShort as cut:
        return read, cut.problem
    return read, None


@both
@pytest.mark.parametrize("size_bytes", [997, 1 << 20])
def test_whole_text(suffix: str, pack: Callable[[bytes], bytes], size_bytes: int) -> None:
    assert read(pack(TEXT), suffix, size_bytes) == TEXT


@both
@pytest.mark.parametrize("size_bytes", [1, 7, 1 << 20])
def test_members_and_frames_follow_each_other(suffix: str, pack: Callable[[bytes], bytes], size_bytes: int) -> None:
    parts = [b"a\nb", b"", b"c\n", b"d" * 3000]
    assert read(b"".join(map(pack, parts)), suffix, size_bytes) == b"".join(parts)


def test_text_that_fills_whole_blocks_is_complete() -> None:
    for size_bytes in (1 << 20, 2 << 20, (1 << 20) + 1, (1 << 20) - 1):
        assert len(read(gzip.compress(bytes(size_bytes)), "gz")) == size_bytes


@both
def test_every_early_end_is_told(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    content = pack(random.Random(1).randbytes(300))
    for end in range(len(content)):
        _, problem = read_until_cut(content[:end], suffix)
        assert problem == "truncated", f"cut at {end} of {len(content)}"
    whole = pack(b"first") + content
    assert read_until_cut(whole[:-1], suffix)[1] == "truncated"


@both
def test_what_was_there_before_the_end_is_given(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    content = pack(TEXT)
    text, problem = read_until_cut(content[: len(content) * 3 // 4], suffix)
    assert problem == "truncated"
    assert len(text) > len(TEXT) // 4
    assert TEXT.startswith(text)


@both
def test_damage_and_foreign_bytes_are_told(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    assert read_until_cut(b"plain text\n" * 10, suffix) == (b"", "truncated")
    assert read_until_cut(pack(b"a\n") + b"trailing text", suffix) == (b"a\n", "truncated")
    content = bytearray(gzip.compress(TEXT))
    content[-6] ^= 0xFF
    text, problem = read_until_cut(bytes(content), "gz")
    assert problem == "truncated"
    assert TEXT.startswith(text)


def test_zero_padding_after_gzip_is_nothing() -> None:
    assert read(gzip.compress(b"a") + bytes(1000), "gz") == b"a"
    assert read(gzip.compress(b"a") + bytes(1000) + gzip.compress(b"b"), "gz", 64) == b"ab"


def test_a_skippable_frame_is_skipped() -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"hello"
    assert read(zstd(b"a") + skippable + zstd(b"b"), "zst") == b"ab"


def gzip_bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    zeros = bytes(1 << 20)
    return b"".join([packer.compress(zeros) for _ in range(400)]) + packer.flush()


def zstd_bomb() -> bytes:
    packer = zstandard.ZstdCompressor(level=3).compressobj()
    zeros = bytes(1 << 20)
    return b"".join([packer.compress(zeros) for _ in range(400)]) + packer.flush()


@pytest.mark.parametrize(("suffix", "bomb"), [("gz", gzip_bomb), ("zst", zstd_bomb)])
def test_a_bomb_is_stopped_in_bounded_memory(suffix: str, bomb: Callable[[], bytes]) -> None:
    content = bomb()
    given_bytes, problem = 0, None
    tracemalloc.start()
    try:
        for block in decompressed(iter([content]), suffix):
            given_bytes += len(block)
    except CutShort as cut:
        problem = cut.problem
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert problem == "expansion_limit"
    assert given_bytes <= 130 << 20
    assert peak_bytes < 150 << 20


@both
def test_blocks_are_small_whatever_a_feed_holds(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    """A block is split into lines at once: one of 60 MiB of newlines would be a list of half a gigabyte."""
    assert max(map(len, decompressed(iter([pack(b"\n" * (60 << 20))]), suffix))) < 2 << 20


@both
def test_a_text_of_high_but_honest_ratio_passes(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    text = bytes(60 << 20)
    assert sum(map(len, decompressed(iter([pack(text)]), suffix))) == len(text)


def test_a_wide_zstd_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    content = packer.compress(b"a\n" * 1000) + packer.flush()
    assert zstandard.get_frame_parameters(content).window_size == 1 << 28
    assert read_until_cut(content, "zst") == (b"", "expansion_limit")
