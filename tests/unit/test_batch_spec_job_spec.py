import dataclasses

import orjson
import pytest
from specs import job_spec

from batch.errors import UsageError
from batch.spec.job_spec import JobSpec, decode_spec, encode_spec
from batch.spec.parameters import InferenceParameters

FULL = job_spec(
    inputs=("s3://b/in/*.jsonl", "file:///x.csv"),
    served_model_names=("small",),
    lora={"sums": "/lora"},
    engine_args={"max_num_seqs": 8, "enforce_eager": True, "gpu_memory_utilization": 0.9, "dtype": "auto"},
    parameters=InferenceParameters(max_tokens=5, extra_body={"min_p": 0.1}, system_prompt="Be brief."),
    messages_template=[{"role": "user", "content": "{q}"}],
    id_field="id",
    carry=("level",),
    max_failed_rows="5%",
    deadline_s=86400.0,
)


@pytest.mark.parametrize("spec", [job_spec(), FULL])
def test_a_stored_spec_is_read_back_as_it_was(spec: JobSpec) -> None:
    stored = encode_spec(spec)

    assert decode_spec(stored) == spec
    assert decode_spec(stored).digest == spec.digest
    assert orjson.loads(stored)["format"] == 1


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (b"", "damaged"),
        (b"[]", "damaged"),
        (b"{}", "damaged"),
        (b'{"format":2}', "format 2"),
        (b'{"format":1,"job_id":"a"}', "damaged"),
        (encode_spec(job_spec()).replace(b'"engine"', b'"motor"'), "unknown fields, motor"),
    ],
)
def test_what_is_no_spec_is_told(stored: bytes, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        decode_spec(stored)

    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("job_id", "a/b", "job id 'a/b'"),
        ("job_id", "", "job id ''"),
        ("job_id", "a" * 65, "1 to 64"),
        ("inputs", (), "no input"),
        ("model", "", "no model"),
        ("row_model", "maybe", "row_model='maybe': expected check or ignore"),
        ("on_invalid", "skip", "on_invalid='skip'"),
        ("output_format", "csv", "output_format='csv'"),
        ("max_failed_rows", "-1", "max_failed_rows='-1'"),
        ("max_failed_rows", "five", "max_failed_rows='five'"),
        ("deadline_s", 0.0, "deadline_s=0.0"),
        ("deadline_s", float("nan"), "deadline_s=nan"),
        ("deadline_s", float("inf"), "deadline_s=inf"),
        ("shard_rows", 0, "shard_rows=0"),
        ("max_line_bytes", 0, "max_line_bytes=0"),
    ],
)
def test_a_value_out_of_bounds_is_told(field: str, value: object, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        job_spec(**{field: value})

    assert words in str(raised.value)


def test_two_templates_are_refused() -> None:
    with pytest.raises(UsageError):
        job_spec(prompt_template="{q}", messages_template=[{"role": "user", "content": "{q}"}])


def test_differences_name_the_fields_of_the_identity_only() -> None:
    other = dataclasses.replace(FULL, job_id="other", model="large", carry=())

    assert FULL.differences(other) == {"model": ("tiny", "large"), "carry": (["level"], [])}
    assert FULL.differences(FULL) == {}


def test_a_row_may_name_the_model_its_served_names_and_adapters() -> None:
    assert job_spec().allowed_models == ("tiny",)
    assert FULL.allowed_models == ("tiny", "small", "sums")
    assert job_spec().engine_names == ("tiny",)
    assert FULL.engine_names == ("small", "sums")


@pytest.mark.parametrize(
    ("budget", "rows", "allowed"), [(None, 10, None), ("3", 10, 3), ("0", 10, 0), ("5%", 199, 9), ("0.5%", 1000, 5)]
)
def test_the_error_budget_is_a_number_of_rows(budget: str | None, rows: int, allowed: int | None) -> None:
    assert job_spec(max_failed_rows=budget).allowed_failures(rows) == allowed


def test_numbers_that_are_equal_make_one_digest() -> None:
    spec = job_spec(deadline_s=60, parameters=InferenceParameters(temperature=0, top_p=1))

    assert decode_spec(encode_spec(spec)).digest == spec.digest
    assert spec.digest == job_spec(deadline_s=60.0, parameters=InferenceParameters(temperature=0.0, top_p=1.0)).digest
