"""Finds dataset files behind names, wildcards and directories. Knows nothing of what is inside them."""

import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from connectors.errors import NotFound, UnsupportedFormat
from connectors.stores.registry import open_store, store_and_key
from connectors.stores.store import ObjectInfo
from connectors.uri import Uri, parse_pattern

FORMATS = ("jsonl", "jsonl.gz", "jsonl.zst", "parquet", "csv")
_SUFFIXES = ", ".join(f".{suffix}" for suffix in FORMATS)
_WILDCARD = re.compile(r"[*?]")
_TOKEN = re.compile(r"\*+|\?|[^*?]+")
_ANY_DEPTH = r"(?:(?!\.)[^/]+/)*"


@dataclass(frozen=True, slots=True)
class InputFile:
    """One version of one file. format is one of FORMATS, by the suffix of its name."""

    uri: str
    size_bytes: int
    etag: str
    format: str


@dataclass(frozen=True, slots=True)
class Apart:
    """Folders below a directory whose files are none of it: those that hold a file `marker`.

    `on_found` is told the address of each. A directory that is one itself is read, since it was asked for.
    """

    marker: str
    on_found: Callable[[str], object]


def find_inputs(patterns: Sequence[str], apart: Apart | None = None) -> list[InputFile]:
    """The files behind addresses, wildcards (`*`, `?`, `**` for any depth) and directories.

    In the order given, sorted inside one pattern; a file named twice counts once. Of a directory: files of known suffix
    at any depth, without names that start with `_` or `.` and without what is `apart`. Raises NotFound (names the
    pattern), UnsupportedFormat, BadUri.
    """
    found: dict[str, InputFile] = {}
    for pattern in patterns:
        uri = parse_pattern(pattern)
        files = sorted(_behind(uri, apart), key=lambda file: file.uri)
        if not files:
            raise NotFound(f"input {pattern!r}: no such file, and no files with a suffix of {_SUFFIXES} under it")
        for file in files:
            found.setdefault(file.uri, file)
    return list(found.values())


def _behind(uri: Uri, apart: Apart | None) -> Iterator[InputFile]:
    try:
        yield _input_file(uri, _head(uri))
        return
    except NotFound:
        pass
    if _WILDCARD.search(uri.path):
        matched = _local_matches(uri) if uri.scheme == "file" else _matches(uri)
        yield from (_input_file(file, known or _head(file)) for file, known in matched)
    else:
        files = _local_files(uri, apart) if uri.scheme == "file" else _files(uri, apart)
        for file, known in files:
            if format_of(file.path) and not _is_hidden(file.path.removeprefix(uri.path)):
                yield _input_file(file, known or _head(file))


def format_of(path: str) -> str | None:
    """The format that a name stands for, or None."""
    name = path.rpartition("/")[2].lower()
    return next((suffix for suffix in FORMATS if name.endswith(f".{suffix}")), None)


def _is_hidden(path: str) -> bool:
    return any(segment.startswith(("_", ".")) for segment in path.split("/") if segment)


def _head(uri: Uri) -> ObjectInfo:
    if not uri.path.strip("/"):
        raise NotFound(f"{uri} is a bucket or root, not a file")
    store, key = store_and_key(uri)
    return store.head(key)


def _input_file(uri: Uri, found: ObjectInfo) -> InputFile:
    known_format = format_of(uri.path)
    if known_format is None:
        raise UnsupportedFormat(f"input {uri}: the suffix is none of {_SUFFIXES}")
    if uri.scheme == "file":
        _refuse_irregular(uri)
    return InputFile(str(uri), found.size_bytes, found.etag, known_format)


def _refuse_irregular(uri: Uri) -> None:
    """What such a file gives is gone when it is read again, and its size says nothing."""
    mode = Path(uri.path).stat().st_mode
    if not stat.S_ISREG(mode):
        kinds = {stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(mode), "a device")
        raise UnsupportedFormat(f"input {uri} is {kind}, not a regular file: write what it gives to a file first")


def _local_matches(uri: Uri) -> Iterator[tuple[Uri, None]]:
    # Only *, ? and ** are wildcards here: a name with brackets means itself.
    for path in glob.iglob(uri.path.replace("[", "[[]"), recursive=True):  # noqa: PTH207 (Path.glob finds hidden names)
        if not Path(path).is_dir():
            yield Uri("file", "", path), None


def _local_files(uri: Uri, apart: Apart | None) -> Iterator[tuple[Uri, None]]:
    for parent, directories, names in os.walk(uri.path):
        if apart and parent != uri.path and Path(parent, apart.marker).is_file():
            apart.on_found(str(Uri("file", "", parent)))
            directories.clear()
            continue
        directories[:] = [name for name in directories if not _is_hidden(name)]
        for name in names:
            yield Uri("file", "", f"{parent}/{name}"), None


def _files(uri: Uri, apart: Apart | None) -> Iterator[tuple[Uri, ObjectInfo]]:
    prefix = f"{uri.path}/" if uri.path else ""
    listed = list(open_store(f"{uri.scheme}://{uri.bucket}").list(prefix))
    left_out: tuple[str, ...] = ()
    if apart:
        left_out = _folders_with(apart.marker, (found.key for found in listed), prefix)
        for folder in left_out:
            apart.on_found(str(Uri(uri.scheme, uri.bucket, folder.rstrip("/"))))
    for found in listed:
        if not found.key.startswith(left_out):
            yield Uri(uri.scheme, uri.bucket, found.key), found


def _folders_with(marker: str, keys: Iterable[str], prefix: str) -> tuple[str, ...]:
    """The folders below `prefix` that hold the marker, each with its slash."""
    folders = (key.removesuffix(marker) for key in keys if key.endswith(f"/{marker}"))
    return tuple(folder for folder in folders if folder != prefix and not _is_hidden(folder.removeprefix(prefix)))


def _matches(uri: Uri) -> Iterator[tuple[Uri, ObjectInfo]]:
    fixed = _WILDCARD.split(uri.path, maxsplit=1)[0]
    matcher = _matcher(uri.path)
    for found in open_store(f"{uri.scheme}://{uri.bucket}").list(fixed):
        if matcher.fullmatch(found.key):
            yield Uri(uri.scheme, uri.bucket, found.key), found


def _matcher(pattern: str) -> re.Pattern[str]:
    """As a shell: `*` and `?` stay inside a name and do not match its leading dot; a segment `**` is any depth."""
    *directories, name = pattern.split("/")
    parts = [_ANY_DEPTH if directory == "**" else _segment(directory) + "/" for directory in directories]
    parts += [_ANY_DEPTH, _segment("*")] if name == "**" else [_segment(name)]
    return re.compile("".join(parts))


def _segment(pattern: str) -> str:
    tokens = (
        "[^/]" if token == "?" else "[^/]*" if token[0] == "*" else re.escape(token)
        for token in _TOKEN.findall(pattern)
    )
    return (r"(?!\.)" if pattern[:1] in ("*", "?") else "") + "".join(tokens)
