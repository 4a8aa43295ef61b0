import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.result import Code, Place, RowFailure, Success, Usage, encode_result, one_line, printable, row_id

PLACE = Place("file:///in/rows.jsonl", 7, 9120)
DESIGN_CODES = """
    malformed_json not_an_object invalid_utf8 line_too_long missing_custom_id duplicate_custom_id invalid_parameter
    model_mismatch prompt_too_long unsupported_endpoint media_forbidden engine_crash timeout cancelled expired internal
"""


def test_the_codes_are_those_of_the_design() -> None:
    assert [code.value for code in Code] == DESIGN_CODES.split()


def test_a_success_is_an_openai_output_line_with_the_body_byte_for_byte() -> None:
    body = b'{"id":"chatcmpl-1",  "n": 1.50}'

    line = encode_result(Success("a", body, Usage(3, 2)), "batch_req_1")

    assert body in line
    assert b"\n" not in line
    assert json.loads(line) == {
        "id": "batch_req_1",
        "custom_id": "a",
        "response": {"status_code": 200, "request_id": "batch_req_1", "body": {"id": "chatcmpl-1", "n": 1.5}},
        "error": None,
    }


def test_a_failure_no_server_saw_has_no_response() -> None:
    failure = RowFailure(None, Code.MALFORMED_JSON, "not JSON", PLACE, excerpt=b'{"a":')

    line = json.loads(encode_result(failure, "batch_req_1"))

    assert line == {
        "id": "batch_req_1",
        "custom_id": None,
        "response": None,
        "error": {
            "code": "malformed_json",
            "message": "not JSON",
            "file": "file:///in/rows.jsonl",
            "line": 7,
            "offset": 9120,
            "raw": '{"a":',
        },
    }


def test_a_failure_a_server_would_answer_has_its_answer_and_its_field() -> None:
    failure = RowFailure(
        "a", Code.INVALID_PARAMETER, "bad", PLACE, field="n", status_code=400, body=b'{"error":{}}', metadata={"k": 1}
    )

    line = json.loads(encode_result(failure, "batch_req_1"))

    assert line["response"] == {"status_code": 400, "request_id": "batch_req_1", "body": {"error": {}}}
    assert line["error"]["field"] == "n"
    assert line["metadata"] == {"k": 1}


def error_of(failure: RowFailure) -> dict[str, object]:
    error: dict[str, object] = json.loads(encode_result(failure, "r"))["error"]
    return error


def test_a_raw_line_that_is_not_utf8_is_base64() -> None:
    error = error_of(RowFailure(None, Code.INVALID_UTF8, "no", PLACE, excerpt=b"\xff\xfe"))

    assert error["raw_base64"] == "//4="
    assert "raw" not in error


def test_a_cut_through_a_character_leaves_text() -> None:
    raw = b"a" * 255 + "é".encode() + b"b" * 100

    assert error_of(RowFailure(None, Code.INTERNAL, "no", PLACE, excerpt=raw))["raw"] == "a" * 255


def test_messages_are_printable_and_short() -> None:
    assert printable("a\x1b[31m\nb\x00\x9bc") == "a\\x1b[31m\\x0ab\\x00\\x9bc"
    assert printable("a\u2028b\u202ec\u2066d") == "a\\u2028b\\u202ec\\u2066d"
    assert printable("ok \ud800") == "ok \\ud800"
    long = printable("é" * 5000)
    assert len(long.encode()) <= 1000
    assert long.endswith("...")


def test_metadata_keeps_integers_of_any_size() -> None:
    line = encode_result(Success("a", b"{}", Usage(), metadata={"n": 2**70}), "r")

    assert json.loads(line)["metadata"] == {"n": 2**70}


def test_a_row_id_is_the_same_for_each_attempt_and_for_no_other_row() -> None:
    ids = {row_id(job, file, line) for job in ("a", "b") for file in (0, 1, 11) for line in (1, 2, 11)}

    assert len(ids) == 18
    assert row_id("a", 0, 1) == row_id("a", 0, 1)
    assert row_id("a", 0, 1).startswith("batch_req_")
    assert len(row_id("a", 0, 1)) == len("batch_req_") + 16


def test_usage_adds_up() -> None:
    total = Usage(1, 2, 3) + Usage(10, 20, 30)

    assert total == Usage(11, 22, 33)
    assert total.total_tokens == 33


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from([None, 1, "\t", "\r\n"]),
)
def test_a_body_on_one_line_is_the_same_json(value: object, indent: int | str | None) -> None:
    body = json.dumps(value, indent=indent, ensure_ascii=False).encode()

    line = one_line(body)

    assert json.loads(line) == value
    assert b"\n" not in line
    assert b"\r" not in line
    assert indent is not None or line == body


def test_a_body_on_one_line_keeps_its_own_digits_and_escapes() -> None:
    assert (
        one_line(b'{\n  "a \\" b" : [ 1.50, -1E+3 ],\r\n\t"\\\\": " x "}\n') == b'{"a \\" b":[1.50,-1E+3],"\\\\":" x "}'
    )


def test_a_body_of_several_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="one line"):
        encode_result(Success("a", b'{"a":\n1}', Usage()), "batch_req_1")
