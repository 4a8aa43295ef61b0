"""What a job may be asked for beyond model, inputs, output and inference parameters."""

from typing import Literal, TypedDict


class SpecOptions(TypedDict, total=False):
    """What a job may be asked for beyond the parameters of `create`; see JobSpec."""

    served_model_names: tuple[str, ...]
    lora: dict[str, str]
    prompt_template: str | None
    messages_template: list[dict[str, object]] | None
    id_field: str | None
    carry: tuple[str, ...]
    row_model: Literal["check", "ignore"]
    on_invalid: Literal["quarantine", "fail"]
    max_failed_rows: str | None
    deadline_s: float | None
    row_timeout_s: float | None
    journal_every_s: float
    deduplicate: bool
    order_by_prefix: bool
    output_format: Literal["jsonl", "parquet"]
