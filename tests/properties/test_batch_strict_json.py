import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.strict_json import StrictJSONError, loads

KEYS = st.text('ab:" \\', max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | KEYS
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : "), ("\t,", "\t:\r")])


@given(value=VALUES, separators=SEPARATORS, ascii_only=st.booleans())
def test_what_is_json_is_read_as_the_standard_library_reads_it(
    value: object, separators: tuple[str, str], ascii_only: bool
) -> None:
    raw = json.dumps(value, separators=separators, ensure_ascii=ascii_only).encode()

    read = loads(raw)

    assert json.dumps(read) == json.dumps(json.loads(raw))


def written(pairs: list[tuple[str, object]], separators: tuple[str, str]) -> str:
    comma, colon = separators
    return "{" + comma.join(json.dumps(key) + colon + json.dumps(value) for key, value in pairs) + "}"


@given(
    pairs=st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=4),
    value=VALUES,
    separators=SEPARATORS,
    escaped=st.booleans(),
    depth=st.integers(0, 3),
)
def test_a_repeated_key_is_refused_however_it_is_written(
    pairs: list[tuple[str, object]], value: object, separators: tuple[str, str], escaped: bool, depth: int
) -> None:
    text = written([*pairs, (pairs[0][0], value)], separators)
    if escaped:
        text = text.replace('\\"', "\\u0022").replace("a", "\\u0061")
    raw = ('[{"k":' * depth + text + "}]" * depth).encode()

    with pytest.raises(StrictJSONError):
        loads(raw)


@given(raw=st.binary(max_size=40) | st.text('{}[]":,\\u0d8"1e9.-', max_size=30).map(str.encode))
def test_any_bytes_are_a_value_or_refused(raw: bytes) -> None:
    with suppress(StrictJSONError):
        json.dumps(loads(raw), allow_nan=False)
