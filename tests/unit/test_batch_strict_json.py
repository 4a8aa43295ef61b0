import pytest

from batch.result import Code
from batch.strict_json import StrictJSONError, dumps, loads


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "empty document"),
        (b'{"a":}', "at character 5"),
        (b'{"a":1} x', "at character 8"),
        (b"NaN", "at character 0"),
        (b'{"a":-Infinity}', "not JSON"),
        (b'{"a":1e999}', "infinity"),
        (b'"\\ud800"', "surrogate"),
        (b'"\x00"', "control character"),
        (b'{"a":1,"a":1}', "'a' stands twice"),
        (b'{"a":1,"\\u0061":1}', "'a' stands twice"),
        (b'{"a" :1,"a" : 1}', "'a' stands twice"),
        (b'{"x":[{"b":{},"c":0,"b":[]}]}', "'b' stands twice"),
        (b'{"a":"\\u0022","a":""}', "'a' stands twice"),
        (b'{"a":"","a":"\\u0022\\u0022\\u0022\\u0022"}', "'a' stands twice"),
        (b'{"a\\\\":1,"a\\\\":2}', "stands twice"),
        (b'{"a":"\\":","a":"\\": "}', "'a' stands twice"),
        (b'{"n":' + b"1" * 5000 + b"}", "not JSON"),
        (b"[" * 65 + b"]" * 65, "deeper than 64"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "deeper than 64"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_what_two_parsers_may_read_differently_is_malformed(raw: bytes, words: str) -> None:
    with pytest.raises(StrictJSONError) as raised:
        loads(raw)

    assert raised.value.code == Code.MALFORMED_JSON
    assert words in str(raised.value)


@pytest.mark.parametrize("raw", [b'{"a":"\xff"}', b'"\xed\xa0\x80"', b"\xfe\xff"])
def test_what_is_not_utf8_is_told_with_its_place(raw: bytes) -> None:
    with pytest.raises(StrictJSONError) as raised:
        loads(raw)

    assert raised.value.code == Code.INVALID_UTF8
    assert "at byte" in str(raised.value)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b' {"a" : [1, 2.5, null, true]}\t', {"a": [1, 2.5, None, True]}),
        (b'{"a":"\\u0022: \\"b\\":"}', {"a": '": "b":'}),
        (b'{"a":{"a":1},"b":{"a":2}}', {"a": {"a": 1}, "b": {"a": 2}}),
        (b'["\\ud83d\\ude00","\\u2028"]', ["\U0001f600", "\u2028"]),
        (b"[123456789012345678901234567890]", [123456789012345678901234567890]),
        (b"[-9223372036854775809,18446744073709551616]", [-9223372036854775809, 18446744073709551616]),
        (b"[1e18,12345678901234567890123.5]", [1e18, 12345678901234567890123.5]),
        (b"[" * 64 + b"]" * 64, None),
        (b"[" + b"[]," * 100 + b"[]]", [[]] * 101),
    ],
)
def test_other_json_is_read_as_it_is(raw: bytes, value: object) -> None:
    read = loads(raw)

    assert value is None or read == value


@pytest.mark.parametrize(
    "raw", [b'{"b":1,"a":[null,1.5,"\xc3\xa9"]}', b'{"b":-99999999999999999999,"a":[1e+308,"\xc3\xa9"]}']
)
def test_what_was_read_is_written_again(raw: bytes) -> None:
    assert dumps(loads(raw)) == raw
    assert loads(dumps(loads(raw), sort_keys=True)) == loads(raw)
    assert dumps(loads(raw), sort_keys=True).startswith(b'{"a":')
