"""Addresses of stores and objects: parsed by ourselves, so that no odd URL reaches a storage library.

Knows nothing of what lies behind an address.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from connectors.errors import BadUri

SCHEMES = ("file", "s3", "gs", "az", "memory")
_ALIASES = {"abfs": "az"}
_ALLOWED = "a local path, file:///path, s3://bucket/key, gs://bucket/key, az://container/key or memory://name/key"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Half characters that stand for no byte of a file name; the others (PEP 383) are bytes that are not UTF-8.
_NO_TEXT = re.compile(r"[\ud800-\udc7f\udd00-\udfff]")
_ENCODED_TRICK = re.compile(r"%(2e|2f|00)", re.IGNORECASE)
_ESCAPED_BYTE = re.compile(r"[\udc80-\udcff]")
_TO_ENCODE = re.compile(r"[%?#\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Uri:
    """An address. file: bucket is "" and path absolute; others: path is the key, without a leading slash."""

    scheme: str
    bucket: str
    path: str

    def __str__(self) -> str:
        if self.scheme != "file":
            return f"{self.scheme}://{self.bucket}/{self.path}" if self.path else f"{self.scheme}://{self.bucket}"
        return "file://" + _TO_ENCODE.sub(_percent, self.path)


def parse_uri(text: str) -> Uri:
    """Parse an address; a bare path is a local file, made absolute. `parse_uri(str(uri)) == uri`. Raises BadUri."""
    return _parse(text, wildcards=False)


def parse_pattern(text: str) -> Uri:
    """Parse an address that may hold `*`, `**` and `?` as wildcards in its path. Raises BadUri."""
    return _parse(text, wildcards=True)


def join(uri: Uri, *parts: str) -> Uri:
    """The address below `uri`; a part may hold slashes but not leave it. Raises BadUri."""
    path = uri.path.rstrip("/")
    for part in parts:
        if problem := key_problem(part):
            raise BadUri(f"cannot join {part!r} to {uri}: {problem}")
        path = f"{path}/{part}" if path or uri.scheme == "file" else part
    return Uri(uri.scheme, uri.bucket, path or ("/" if uri.scheme == "file" else ""))


def key_problem(key: str) -> str | None:
    """What is wrong with a key relative to a root, or None."""
    if not key:
        return "it is empty"
    if key.startswith("/"):
        return "it is absolute"
    if _CONTROL.search(key) or _NO_TEXT.search(key):
        return "it holds a control character or half a character"
    if any(segment in ("", ".", "..") for segment in key.split("/")):
        return "it has an empty, '.' or '..' segment"
    return None


def _parse(text: str, *, wildcards: bool) -> Uri:
    if not text:
        raise BadUri(f"the address is empty: expected {_ALLOWED}")
    if _CONTROL.search(text) or _NO_TEXT.search(text):
        raise BadUri(f"{text!a}: control characters and half characters are not allowed in an address")
    if "::" in text:
        raise BadUri(f"{text!r}: chained addresses ('::') are not allowed; expected {_ALLOWED}")
    match = _SCHEME.match(text)
    if match is None:
        return Uri("file", "", _absolute(text))
    scheme = _ALIASES.get(match[1].lower(), match[1].lower())
    if scheme not in SCHEMES or not text.startswith("//", match.end()):
        raise BadUri(f"{text!r}: not an address that can be opened; expected {_ALLOWED} (a file named so: ./{text})")
    rest = text[match.end() + 2 :]
    _refuse_tricks(text, rest, wildcards=wildcards)
    return _file_uri(text, rest) if scheme == "file" else _bucket_uri(text, scheme, rest)


def _refuse_tricks(text: str, rest: str, *, wildcards: bool) -> None:
    if "#" in rest or ("?" in rest and not wildcards):
        raise BadUri(f"{text!r}: a query or fragment ('?', '#') is not allowed")
    if _ENCODED_TRICK.search(rest):
        raise BadUri(f"{text!r}: '%2e', '%2f' and '%00' are not allowed")
    if ".." in rest.split("/"):
        raise BadUri(f"{text!r}: '..' is not allowed as a segment")


def _file_uri(text: str, rest: str) -> Uri:
    host, slash, path = rest.partition("/")
    if host not in ("", "localhost") or not slash:
        raise BadUri(f"{text!r}: a file address has three slashes, file:///path (host {host!r} is not allowed)")
    return Uri("file", "", _absolute("/" + os.fsdecode(unquote_to_bytes(path))))


def _bucket_uri(text: str, scheme: str, rest: str) -> Uri:
    bucket, _, path = rest.partition("/")
    if "@" in bucket:
        raise BadUri(f"{scheme}://…: user or key before '@' is not allowed; credentials come from the environment")
    if _ESCAPED_BYTE.search(path):
        raise BadUri(f"{text!a}: the key is not UTF-8 text")
    if not _BUCKET.fullmatch(bucket):
        raise BadUri(f"{text!r}: bucket name {bucket!r} is not letters, digits, '.', '_' and '-'")
    if "." in path.split("/"):
        raise BadUri(f"{text!r}: '.' is not allowed as a segment")
    return Uri(scheme, bucket, path.strip("/"))


def _absolute(path: str) -> str:
    if not path.startswith("/"):
        try:
            path = str(Path.cwd() / Path(path).expanduser())
        except RuntimeError as error:
            raise BadUri(f"{path!r}: {error}") from error
        except FileNotFoundError as error:
            raise BadUri(f"{path!r}: the folder that you stand in is gone; change to another one") from error
    # Not Path.resolve: a symbolic link stays as it was named.
    return "/" + os.path.normpath(path).lstrip("/")


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(match[0]))
