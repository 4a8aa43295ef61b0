import math

import orjson
from hypothesis import example, given
from hypothesis import strategies as st
from specs import FILE, chat_line, job_spec, line_of

from batch.result import Code, RowFailure, encode_result
from batch.rows.request import Decoder, Request
from batch.spec.parameters import InferenceParameters
from batch.strict_json import dumps
from connectors.datasets.lines import Line

DECODERS = [
    Decoder(job_spec()),
    Decoder(job_spec(row_model="ignore", parameters=InferenceParameters(max_tokens=3, system_prompt="Be brief."))),
    Decoder(job_spec(prompt_template="{prompt}", id_field="custom_id", carry=("metadata", "body"))),
]

KNOWN = """custom_id method url body model messages prompt input role content type image_url temperature stop n stream
    tools seed max_tokens top_logprobs metadata chat_template"""
NAMES = st.sampled_from(KNOWN.split())
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 2**64, 2**70, -(10**300)])
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["POST", "/v1/chat/completions", "/v1/completions", "tiny", "user", "http://x", "image_url"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=3), inner, max_size=5),
    max_leaves=20,
)
ROWS = st.dictionaries(NAMES, VALUES, max_size=6)
JSON_LINES = ROWS.map(dumps)
TORN_LINES = st.tuples(JSON_LINES, st.integers(0, 60), st.binary(max_size=3)).map(
    lambda torn: torn[0][: torn[1]] + torn[2] + torn[0][torn[1] :]
)


@given(raw=st.binary(max_size=60) | JSON_LINES | TORN_LINES, duplicate=st.booleans())
@example(raw=b'{"body":{"messages":[],"temperature":1' + b"0" * 400 + b"}}", duplicate=False)
@example(raw=b'{"custom_id":"a","body":{"messages":[[]],"model":{}}}', duplicate=False)
@example(raw=b'{"custom_id":"\\u0000","url":{},"body":{"n":1e308}}', duplicate=True)
def test_any_bytes_become_one_request_or_one_failure(raw: bytes, duplicate: bool) -> None:
    for decoder in DECODERS:
        decoded = decoder.decode(FILE, Line(7, 70, raw), duplicate=duplicate)
        given_id = decoder.custom_id(Line(7, 70, raw))

        assert given_id is None or given_id == decoded.custom_id
        if isinstance(decoded, Request):
            assert decoded.body["model"] == "tiny"
            assert decoded.body.get("stream") in (None, False)
            assert not duplicate
        else:
            line = orjson.loads(encode_result(decoded, "r"))
            assert line["error"]["line"] == 7
            assert line["error"]["code"] == decoded.code
            assert decoded.code != Code.INTERNAL
            assert (line["response"] is None) == (decoded.status_code is None)


@given(
    row=st.fixed_dictionaries(
        {}, optional={"temperature": st.floats(0, 2), "n": st.integers(1, 9), "top_k": st.none()}
    ),
    job=st.fixed_dictionaries(
        {}, optional={"temperature": st.floats(0, 2), "n": st.integers(1, 9), "top_k": st.just(4)}
    ),
)
def test_each_parameter_is_the_rows_else_the_jobs(row: dict[str, object], job: dict[str, object]) -> None:
    decoder = Decoder(job_spec(parameters=InferenceParameters.from_dict(job)))

    request = decoder.decode(FILE, line_of(chat_line("a", **row)))

    assert isinstance(request, Request)
    for name in ("temperature", "n", "top_k"):
        if name in row:
            assert request.body[name] == row[name]
        elif name in job:
            assert request.body[name] == job[name]
        else:
            assert name not in request.body


@given(temperature=st.floats(allow_nan=False, allow_infinity=False))
def test_a_bound_lets_through_just_what_it_says(temperature: float) -> None:
    decoded = DECODERS[0].decode(FILE, line_of(chat_line(temperature=temperature)))

    assert isinstance(decoded, Request) == (0 <= temperature <= 2)
    assert math.isfinite(temperature)
    if isinstance(decoded, RowFailure):
        assert decoded.code == Code.INVALID_PARAMETER
