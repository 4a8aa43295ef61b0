"""The flags of a job's options, made of their table, and their values as fields of a job spec. Starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from batch.cli.flags.completion import files
from batch.cli.flags.values import DURATION, FAILURE_BUDGET, KEY_VALUE, once_each, read_json
from batch.errors import UsageError
from batch.spec.job_options import OPTIONS, JobOption, Kind, SpecOptions

Function = TypeVar("Function", bound=Callable[..., Any])

_VALUES: dict[Kind, dict[str, Any]] = {
    Kind.TEXT: {},
    Kind.TEXTS: {"multiple": True},
    Kind.ADAPTERS: {"multiple": True, "type": KEY_VALUE},
    Kind.MESSAGES: {"shell_complete": files},
    Kind.SECONDS: {"type": DURATION},
    Kind.BUDGET: {"type": FAILURE_BUDGET},
    Kind.SWITCH: {},
}
"""What click is told of each kind but CHOICE."""


def line_options(function: Function) -> Function:
    """The options that decide what a line may be."""
    return _with({name: option for name, option in OPTIONS.items() if option.of_lines}, function)


def limit_options(function: Function) -> Function:
    """What the job tolerates, how long it may take, how it keeps answers and how it writes them."""
    return _with({name: option for name, option in OPTIONS.items() if not option.of_lines}, function)


def take_options(given: dict[str, Any]) -> SpecOptions:
    """Move the job's options out of a command's keyword arguments. UsageError. Reads the template file only."""
    found: Any = {name: _value(OPTIONS[name].kind, given.pop(name)) for name in OPTIONS if name in given}
    options: SpecOptions = found  # a test holds the table to it
    return options


def _with(options: dict[str, JobOption], function: Function) -> Function:
    for name, option in reversed(options.items()):
        told = {"type": click.Choice(option.choices)} if option.kind is Kind.CHOICE else _VALUES[option.kind]
        if option.default is not None:
            told = told | {"default": option.default, "show_default": True}
        function = click.option(option.flag, name, metavar=option.metavar, help=option.help, **told)(function)
    return function


def _value(kind: Kind, given: Any) -> object:
    match kind:
        case Kind.ADAPTERS:
            return adapters(given)
        case Kind.MESSAGES:
            return read_messages_template(given)
        case _:
            return given


def adapters(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """--lora NAME=PATH as a mapping. UsageError for a name given twice."""
    return once_each("--lora", pairs, why="an adapter's name stands for one path")


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
