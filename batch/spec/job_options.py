"""What a job may be asked for beyond inputs, model, output, engine and inference parameters: one table.

The flags of the command line and the options of the Python classes are made of it. To add one: a field of `JobSpec`, a
row and a line of `SpecOptions` here, a row in docs/parameters.md. Knows nothing of how options are given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from typing import Any, Literal, TypedDict

from batch.errors import UsageError


class Kind(Enum):
    """What a value is, and so how it is written."""

    TEXT = "text"
    TEXTS = "a list of texts"
    CHOICE = "one of a few words"
    SWITCH = "true or false"
    SECONDS = "a number of seconds"
    BUDGET = "a number of rows or a share of them"
    ADAPTERS = "adapter names and where they lie"
    MESSAGES = "a list of messages"


@dataclass(frozen=True, slots=True)
class JobOption:
    """One option. `flag`: on the command line; `of_lines`: it decides what a line may be, so that `validate` has it."""

    flag: str
    kind: Kind
    help: str
    metavar: str | None = None
    default: str | bool | None = None
    choices: tuple[str, ...] = ()
    of_lines: bool = False


OPTIONS: dict[str, JobOption] = {
    "served_model_names": JobOption(
        "--served-model-name", Kind.TEXTS, "Another model name rows may carry.", "NAME", of_lines=True
    ),
    "lora": JobOption("--lora", Kind.ADAPTERS, "A LoRA adapter.", "NAME=PATH", of_lines=True),
    "prompt_template": JobOption(
        "--prompt-template", Kind.TEXT, "Make a chat of each row: 'Q: {question}'.", "TEXT", of_lines=True
    ),
    "messages_template": JobOption(
        "--messages-template", Kind.MESSAGES, "The same with a JSON list of messages.", "FILE", of_lines=True
    ),
    "id_field": JobOption(
        "--id-field", Kind.TEXT, "The field of a templated row that is its custom_id.", "NAME", of_lines=True
    ),
    "carry": JobOption("--carry", Kind.TEXTS, "Copy a row's field into its result line.", "FIELD", of_lines=True),
    "row_model": JobOption(
        "--row-model",
        Kind.CHOICE,
        "What to do with a row that names another model.",
        default="check",
        choices=("check", "ignore"),
        of_lines=True,
    ),
    "on_invalid": JobOption(
        "--on-invalid",
        Kind.CHOICE,
        "Write bad lines to errors/, or refuse the whole job before an engine starts.",
        default="quarantine",
        choices=("quarantine", "fail"),
    ),
    "max_failed_rows": JobOption("--max-failed-rows", Kind.BUDGET, "Fail the job beyond so many failed rows.", "N|P%"),
    "deadline_s": JobOption("--deadline", Kind.SECONDS, "Expire the job so long after its creation.", "24h"),
    "row_timeout_s": JobOption(
        "--row-timeout",
        Kind.SECONDS,
        "Fail a row not answered in that time. Default: ten times the slowest answered row, at least 10m.",
        "10m",
    ),
    "journal_every_s": JobOption(
        "--journal-every",
        Kind.SECONDS,
        "Keep answers that often: what a crash may cost, besides the rows in flight.",
        default="30s",
    ),
    "deduplicate": JobOption(
        "--deduplicate/--no-deduplicate",
        Kind.SWITCH,
        "Ask equal requests once, where temperature 0 or a seed determines the answer.",
        default=True,
    ),
    "order_by_prefix": JobOption(
        "--order-by-prefix/--no-order-by-prefix",
        Kind.SWITCH,
        "Ask rows that share a prefix one after another; the output keeps the order of the input.",
        default=True,
    ),
    "output_format": JobOption(
        "--output-format", Kind.CHOICE, "parquet adds typed columns.", default="jsonl", choices=("jsonl", "parquet")
    ),
}
"""By the name of the field of `JobSpec`. `default`: as it is written on the command line."""


class SpecOptions(TypedDict, total=False):
    """The same options for type checkers: fields of JobSpec, which says what they mean."""

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
    return {name: _read(name, value) for name, value in options.items()}


def _read(name: str, value: Any) -> object:
    if name not in OPTIONS:
        close = get_close_matches(name, OPTIONS, n=1)
        raise UsageError(f"there is no option {name!r}" + (f": is {close[0]} meant?" if close else ""))
    match OPTIONS[name].kind:
        case Kind.TEXTS:
            return _texts(name, value)
        case Kind.SECONDS if value is not None and type(value) not in (int, float):
            raise UsageError(f"{name}={value!r}: expected a number of seconds")
        case Kind.BUDGET if value is not None:
            return str(value)
        case _:
            return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence) or not all(isinstance(text, str) for text in value):
        raise UsageError(f"{name}={value!r}: expected a list of texts")
    return tuple(value)
