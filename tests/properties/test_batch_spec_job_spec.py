import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from specs import job_spec

from batch.spec.job_spec import decode_spec, encode_spec
from batch.spec.parameters import InferenceParameters, merge

WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
JSON = st.dictionaries(WORDS, st.none() | st.booleans() | st.integers(2, 9) | WORDS, max_size=3)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "inputs": st.lists(WORDS, min_size=1, max_size=3).map(tuple),
    "output": WORDS,
    "model": WORDS,
    "served_model_names": st.lists(WORDS, max_size=2).map(tuple),
    "lora": st.dictionaries(WORDS, WORDS, max_size=1),
    "engine": WORDS,
    # One of each, and 2 not 0 or 1: Python holds True, 1 and 1.0 to be equal.
    "engine_args": st.dictionaries(WORDS, st.booleans() | st.integers(2, 9) | st.floats(0.1, 0.9) | WORDS, max_size=1),
    "parameters": st.builds(
        InferenceParameters,
        max_tokens=st.none() | st.integers(1, 9),
        temperature=st.none() | st.floats(0.1, 2),
        extra_body=st.dictionaries(st.sampled_from(["min_p", "foo"]), st.integers(0, 3), max_size=1),
        system_prompt=st.none() | WORDS,
    ),
    "id_field": st.none() | WORDS,
    "carry": st.lists(WORDS, max_size=2).map(tuple),
    "row_model": st.sampled_from(["check", "ignore"]),
    "on_invalid": st.sampled_from(["quarantine", "fail"]),
    "max_failed_rows": st.sampled_from([None, "3", "5%"]),
    "deadline_s": st.none() | st.floats(1, 1e6),
    "row_timeout_s": st.none() | st.floats(1, 1e6),
    "deduplicate": st.booleans(),
    "max_line_bytes": st.integers(1, 10**9),
    "output_format": st.sampled_from(["jsonl", "parquet"]),
    "shard_rows": st.integers(1, 10**6),
    "input_dataset_id": WORDS,
    "output_dataset_id": WORDS,
    "continued_from": WORDS,
    "continued_from_output": WORDS,
    "retry_codes": st.lists(WORDS, max_size=2).map(tuple),
    "prompt_template": st.none() | WORDS,
}
TEMPLATES = {"messages_template": st.none() | st.lists(JSON, max_size=2)}
NOT_IDENTITY = {"job_id", "created_at", "display_name", "created_by", "journal_every_s", "order_by_prefix"}
NOT_IDENTITY |= {"token", "changed_from"}


@given(fields=st.fixed_dictionaries({}, optional=FIELDS))
def test_a_spec_is_read_back_as_it_was(fields: dict[str, Any]) -> None:
    spec = job_spec(**fields)

    again = decode_spec(encode_spec(spec))

    assert again == spec
    assert again.digest == spec.digest
    assert again.differences(spec) == {}


@given(fields=st.fixed_dictionaries({}, optional=FIELDS), change=st.data())
def test_the_digest_is_of_every_field_of_the_identity(fields: dict[str, Any], change: st.DataObject) -> None:
    spec = job_spec(**fields)
    name = change.draw(st.sampled_from(sorted(FIELDS)))
    other = dataclasses.replace(spec, **{name: change.draw(FIELDS[name])})

    same = repr(getattr(spec, name)) == repr(getattr(other, name))
    assert (spec.digest == other.digest) == same
    assert set(spec.differences(other)) == (set() if same else {name})


@given(messages=TEMPLATES["messages_template"])
def test_the_digest_is_of_the_messages_template_too(messages: list[dict[str, object]] | None) -> None:
    spec, other = job_spec(), job_spec(messages_template=messages)

    assert (spec.digest == other.digest) == (spec == other)


def test_every_field_is_in_the_identity_or_known_not_to_be() -> None:
    names = {field.name for field in dataclasses.fields(job_spec())}

    assert names == FIELDS.keys() | TEMPLATES.keys() | NOT_IDENTITY


@given(job_id=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True), created_at=WORDS, name=WORDS, who=WORDS)
def test_the_digest_is_not_of_who_when_and_how_it_is_called(job_id: str, created_at: str, name: str, who: str) -> None:
    spec = job_spec()
    other = dataclasses.replace(spec, job_id=job_id, created_at=created_at, display_name=name, created_by=who)
    other = dataclasses.replace(other, journal_every_s=1.0, order_by_prefix=False)

    assert other.digest == spec.digest
    assert spec.differences(other) == {}


LAYERS = st.dictionaries(st.sampled_from(["a", "b", "max_tokens", "max_completion_tokens"]), st.integers())


@given(defaults=LAYERS, job=LAYERS, row=LAYERS)
def test_the_merge_takes_each_name_from_the_strongest_layer(
    defaults: dict[str, int], job: dict[str, int], row: dict[str, int]
) -> None:
    merged = merge(defaults, job, row)

    for name in ("a", "b"):
        strongest = next((layer for layer in (row, job, defaults) if name in layer), {})
        assert merged.get(name) == strongest.get(name)
    limits = {"max_tokens", "max_completion_tokens"}
    strongest = next((layer for layer in (row, job, defaults) if limits & layer.keys()), {})
    assert len(strongest.keys() & limits) > 1 or {n: merged[n] for n in limits & merged.keys()} == {
        n: strongest[n] for n in limits & strongest.keys()
    }
