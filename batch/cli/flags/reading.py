"""The flags that decide how lines become requests, shared by `run`, `validate` and `create`. Starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

from batch.cli.flags.completion import files
from batch.cli.flags.values import JSON_OBJECT, KEY_VALUE, read_json
from batch.errors import UsageError
from batch.spec.parameters import FLAGS, InferenceParameters

Function = TypeVar("Function", bound=Callable[..., Any])
Flags = TypeVar("Flags")


@dataclass(frozen=True, slots=True)
class LineFlags:
    """What a line may look like; every field is the flag of its name."""

    served_model_name: tuple[str, ...]
    lora: tuple[tuple[str, str], ...]
    prompt_template: str | None
    messages_template: str | None
    id_field: str | None
    carry: tuple[str, ...]
    row_model: Literal["check", "ignore"]


def take(kind: type[Flags], given: dict[str, Any]) -> Flags:
    """Move the fields of `kind` out of a command's keyword arguments."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # every Flags is a dataclass
    return kind(**{name: given.pop(name) for name in names})


def line_options(function: Function) -> Function:
    """The options of LineFlags."""
    for option in reversed(
        (
            click.option(
                "--served-model-name", multiple=True, metavar="NAME", help="Another model name rows may carry."
            ),
            click.option("--lora", multiple=True, type=KEY_VALUE, metavar="NAME=PATH", help="A LoRA adapter."),
            click.option("--prompt-template", metavar="TEXT", help="Make a chat of each row: 'Q: {question}'."),
            click.option(
                "--messages-template",
                metavar="FILE",
                help="The same with a JSON list of messages.",
                shell_complete=files,
            ),
            click.option("--id-field", metavar="NAME", help="The field of a templated row that is its custom_id."),
            click.option("--carry", multiple=True, metavar="FIELD", help="Copy a row's field into its result line."),
            click.option(
                "--row-model",
                type=click.Choice(["check", "ignore"]),
                default="check",
                show_default=True,
                help="What to do with a row that names another model.",
            ),
        )
    ):
        function = option(function)
    return function


def parameter_options(function: Function) -> Function:
    """The flags of InferenceParameters."""
    for flag in reversed(FLAGS.values()):
        kind = JSON_OBJECT if flag.kind is dict else flag.kind
        function = click.option(*flag.names, type=kind, metavar=flag.metavar, help=flag.help)(function)
    return function


def take_parameters(given: dict[str, Any]) -> InferenceParameters:
    """Move the inference parameters out of a command's keyword arguments. UsageError names value and bound."""
    asked = {name: given.pop(name) for name in FLAGS}
    return InferenceParameters.from_dict({name: value for name, value in asked.items() if value is not None})


def read_messages_template(path: str | None) -> list[dict[str, Any]] | None:
    """The JSON list of messages in a file. UsageError names the file and what is wrong with it."""
    if path is None:
        return None
    try:
        messages = read_json(Path(path).expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"--messages-template {path}: there is no such file.") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"--messages-template {path}: cannot be read as JSON ({error}).") from None
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise UsageError(f'--messages-template {path}: expected a list of messages such as [{{"role": "user", ...}}].')
    return messages


def adapters(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """--lora NAME=PATH as a mapping. UsageError for a name given twice."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--lora {twice}: given twice; an adapter's name stands for one path.")
    return dict(pairs)
