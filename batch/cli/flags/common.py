"""Flags that several commands share, and the settings that follow from them. Knows no command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from batch import __version__
from batch.settings import Settings, read_settings

Function = TypeVar("Function", bound=Callable[..., Any])

_GLOBAL_FLAGS = (
    ("workspace", ("-w", "--workspace"), "URI", "Where datasets and jobs live (BATCHCTL_WORKSPACE)."),
    ("account_id", ("-a", "--account-id"), "ID", "The account that owns them (BATCHCTL_ACCOUNT_ID)."),
    ("api_key", ("--api-key",), "KEY", "The key of that account (BATCHCTL_API_KEY)."),
    ("profile", ("-p", "--profile"), "NAME", "A profile of the profile file (BATCHCTL_PROFILE)."),
)


def _remember(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    flags: dict[str, str] = ctx.ensure_object(dict)
    if value is not None and param.name is not None:
        flags[param.name] = value


def global_options(function: Function) -> Function:
    """Take -w, -a, --api-key and -p, before or after the command's name; the later one wins."""
    for name, spellings, metavar, text in reversed(_GLOBAL_FLAGS):
        option = click.option(
            *spellings, name, metavar=metavar, help=text, expose_value=False, is_eager=True, callback=_remember
        )
        function = option(function)
    return function


def settings(ctx: click.Context) -> Settings:
    """The settings of this call. Raises UsageError for an unknown profile."""
    return read_settings(ctx.ensure_object(dict))


version_option = click.version_option(__version__, prog_name="batchctl", message="%(prog)s %(version)s")


class _Format(click.Choice[str]):
    """How to print; what looks like a place to write to is told the flag for that."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            formats = ", ".join(self.choices)
            message = f"{value!r} is not how to print ({formats}); where results go is said by --output OUT."
            self.fail(message, param, ctx)
        return str(value)


def output_option(*choices: str) -> Callable[[Function], Function]:
    """-o/--format with the first choice as default; the value arrives as `mode`."""
    return click.option(
        "-o", "--format", "mode", type=_Format(choices), default=choices[0], show_default=True, help="How to print."
    )
