"""The flags of the inference parameters, made of their table. Starts nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, TypeVar

import click

from batch.cli.flags.values import JSON_OBJECT
from batch.spec.parameters import FLAGS, InferenceParameters

Function = TypeVar("Function", bound=Callable[..., Any])
Flags = TypeVar("Flags")


def take(kind: type[Flags], given: dict[str, Any]) -> Flags:
    """Move the fields of `kind` out of a command's keyword arguments."""
    names = [field.name for field in fields(kind)]  # type: ignore[arg-type]  # every Flags is a dataclass
    return kind(**{name: given.pop(name) for name in names})


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
