"""Whatever a row holds, it comes out once, and its neighbours are answered: plan, keys, line, engine and parts."""

from typing import Any

from engines import ids, output, planned_job, row, run_job
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from random_rows import nested

from batch.planning.plan import read_lines
from batch.result import Code
from batch.rows.request import CHAT, ENDPOINTS, Decoder, Request
from batch.strict_json import dumps
from pipelines.engines.echo import EchoEngine

LARGE = [2**63, 2**64, 2**70, -(2**63) - 1, -(2**70), 10**300]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(LARGE)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "8", "user", "auto", "é\u2028", "\x00"])
)
NAMES = st.sampled_from(["", "role", "content", "type", "text", "a"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
) | st.integers(1, 60).map(nested)
KNOWN = """model messages prompt input query documents temperature top_p top_k min_p seed stop stop_token_ids n
    max_tokens max_completion_tokens max_output_tokens logit_bias logprobs top_logprobs tools tool_choice user
    response_format chat_template_kwargs structured_outputs truncate_prompt_tokens encoding_format priority"""
FIELDS = st.sampled_from(KNOWN.split())
BODIES = st.fixed_dictionaries({"messages": st.just([{"role": "user", "content": "1 + 1?"}])}).flatmap(
    lambda body: st.dictionaries(FIELDS | NAMES, VALUES, max_size=4).map(lambda fields: body | fields)
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(st.tuples(st.sampled_from(ENDPOINTS), BODIES), min_size=1, max_size=4))
@example(drawn=[(CHAT, {"messages": [{"role": ["user"], "content": 2**70}], "seed": 1, "top_k": 2**70})])
def test_every_row_comes_out_once_and_its_neighbours_are_answered(drawn: list[tuple[str, dict[str, Any]]]) -> None:
    lines = [{"custom_id": f"r{n}", "url": url, "body": body} for n, (url, body) in enumerate(drawn)]
    job = planned_job([row("first"), *map(dumps, lines), row("last")], carry=("body",))

    (commit,) = run_job(job, EchoEngine())

    assert commit.succeeded + commit.failed == len(lines) + 2
    assert {"first", "last"} <= set(ids(job))
    assert sorted(map(str, ids(job) + ids(job, "errors"))) == ["first", "last", *(f"r{n}" for n in range(len(lines)))]
    assert all(line["error"]["code"] != Code.INTERNAL for line in output(job, "errors"))
    plan = job.plan()
    assert plan is not None
    decoder = Decoder(job.spec())
    valid = [isinstance(decoder.decode("", line), Request) for line in read_lines(job.spec(), plan.inputs[0])]
    assert sum(valid) == commit.succeeded
