"""What a job may be asked for beyond model, inputs, output and inference parameters; as Python programs write it."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, Literal, TypedDict

from batch.errors import UsageError

LISTS = ("served_model_names", "carry")
SECONDS = ("deadline_s", "row_timeout_s", "journal_every_s")


class SpecOptions(TypedDict, total=False):
    """Fields of JobSpec, which says what they mean."""

    served_model_names: Sequence[str]
    lora: dict[str, str]
    prompt_template: str | None
    messages_template: list[dict[str, object]] | None
    id_field: str | None
    carry: Sequence[str]
    row_model: Literal["check", "ignore"]
    on_invalid: Literal["quarantine", "fail"]
    max_failed_rows: str | int | None
    deadline_s: float | None
    row_timeout_s: float | None
    journal_every_s: float
    deduplicate: bool
    order_by_prefix: bool
    output_format: Literal["jsonl", "parquet"]


def spec_fields(options: SpecOptions) -> dict[str, Any]:
    """The options as fields of a JobSpec. UsageError: there is none of that name, or its value would be misread."""
    fields: dict[str, Any] = dict(options)
    for name, value in fields.items():
        if name not in SpecOptions.__annotations__:
            close = get_close_matches(name, SpecOptions.__annotations__, n=1)
            raise UsageError(f"there is no option {name!r}" + (f": is {close[0]} meant?" if close else ""))
        if name in LISTS:
            fields[name] = _texts(name, value)
        if name in SECONDS and value is not None and type(value) not in (int, float):
            raise UsageError(f"{name}={value!r}: expected a number of seconds")
        if name == "max_failed_rows" and value is not None:
            fields[name] = str(value)
    return fields


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(text, str) for text in value):
        raise UsageError(f"{name}={value!r}: expected a list of texts")
    return tuple(value)
