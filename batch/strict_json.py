"""JSON read strictly: what two parsers could read as two different values is refused. And what was read, written.

Refused beside broken JSON: duplicate keys, numbers that are not finite, lone surrogates, nesting deeper than 64.
Knows nothing of requests.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import NoReturn

import orjson

from batch.result import Code

MAX_DEPTH = 64

# orjson reads integers of more than 64 bits as floats; they have at least 19 digits, all of which this makes "0".
_DIGITS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 19


class StrictJSONError(ValueError):
    """The bytes are not strict JSON. `code`: malformed_json or invalid_utf8; the message names the place."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code


def loads(raw: bytes) -> object:
    """Return the value. Raises StrictJSONError, and nothing else. About 4 us for 300 bytes."""
    try:
        value: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise _explained(raw, error) from None
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
        _check_depth(value)
    if _has_repeated_keys(raw, value) or _LONG_NUMBER in raw.translate(_DIGITS):
        return _loads_slowly(raw)
    return value


def dumps(value: object, *, sort_keys: bool = False) -> bytes:
    """Return as JSON whatever `loads` returns: integers of more than 64 bits, too, which orjson refuses."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort_keys else None)
    except TypeError:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys).encode()


def _has_repeated_keys(raw: bytes, value: object) -> bool:
    """True when an object in `raw` may have a key twice; False is certain.

    What a repeated key hid is not written again, so that quotes are missing, unless escaped ones make up for them.
    """
    return raw.count(b'"') != orjson.dumps(value).count(b'"') or b"\\u0022" in raw


def _explained(raw: bytes, error: orjson.JSONDecodeError) -> StrictJSONError:
    try:
        raw.decode()
    except UnicodeDecodeError as broken:
        found = f"byte {raw[broken.start]:#04x}"
        return StrictJSONError(Code.INVALID_UTF8, f"not UTF-8: {found} at byte {broken.start} of the line")
    return StrictJSONError(Code.MALFORMED_JSON, f"not JSON: {error.msg} at character {error.pos} of the line")


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for member in level:
            if type(member) is dict:
                inner += member.values()
            elif type(member) is list:
                inner += member
        if not inner:
            return
        level = inner
    if any(type(member) in (dict, list) for member in level):
        raise StrictJSONError(Code.MALFORMED_JSON, f"nested deeper than {MAX_DEPTH} levels")


def _loads_slowly(raw: bytes) -> object:
    """Parse again with the standard library, which sees each pair; orjson has accepted `raw`."""
    try:
        value: object = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except StrictJSONError:
        raise
    except (ValueError, RecursionError) as error:  # an integer of more than 4300 digits, for one
        raise StrictJSONError(Code.MALFORMED_JSON, f"not JSON: {error}") from None
    return value


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        repeated = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise StrictJSONError(Code.MALFORMED_JSON, f"the key {repeated!r} stands twice in one object")
    return members


def _refuse_constant(constant: str) -> NoReturn:
    raise StrictJSONError(Code.MALFORMED_JSON, f"{constant} is not a JSON number")
