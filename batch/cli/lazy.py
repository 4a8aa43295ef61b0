"""Command groups that import a subcommand only when it is called, so that `--help` stays fast. Knows no command."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a subcommand lives ("module:attribute") and its one line of help."""

    target: str
    help: str


class LazyGroup(click.Group):
    """A group whose subcommands are a table of entries; aliases name the same entries without being listed.

    With a `fallback`, a first word that is no subcommand is the first argument of that command.
    """

    def __init__(
        self,
        *,
        entries: Mapping[str, Entry],
        aliases: Mapping[str, str],
        fallback: Entry | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(**settings)
        self.entries = entries
        self.aliases = aliases
        self.fallback = fallback

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        entry = self.entries.get(self.aliases.get(cmd_name, cmd_name))
        return None if entry is None else _load(entry)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = [*self.entries, *self.aliases]
        if args[0] in known or args[0].startswith("-"):
            return super().resolve_command(ctx, args)
        if self.fallback is not None:
            return args[0], _load(self.fallback), args
        if ctx.resilient_parsing:  # a shell asks what may follow: nothing is known to
            return None, None, args
        close = get_close_matches(args[0], known, n=2)
        hint = f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(self.entries)}."
        raise click.UsageError(f"{ctx.command_path} has no {args[0]!r}; {hint}", ctx)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """What may follow, by the table: nothing is imported but a fallback, whose arguments may follow, too."""
        items = [CompletionItem(n, help=entry.help) for n, entry in self.entries.items() if n.startswith(incomplete)]
        if incomplete.startswith("-"):
            return items + click.Command.shell_complete(self, ctx, incomplete)
        if self.fallback is not None:
            first = next(param for param in _load(self.fallback).params if isinstance(param, click.Argument))
            items += first.shell_complete(ctx, incomplete)
        return items

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(0)
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])


def _load(entry: Entry) -> click.Command:
    module, attribute = entry.target.split(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command
