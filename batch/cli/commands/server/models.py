"""`create|get|list|update|delete model`: what the jobs of a server may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from batch.cli.commands.server.root import print_all, root_option, server_at
from batch.cli.flags.completion import folders
from batch.cli.flags.running import engine_arguments, engine_options
from batch.cli.flags.values import REPLICAS
from batch.cli.output.resources import Fields, ListFlags, list_options, render, resource_output

if TYPE_CHECKING:
    from batch.server.admin.models import ServedModel
    from batch.server.server import BatchServer


def _model_options(function: Any) -> Any:
    for option in reversed(
        (
            click.argument("name"),
            click.option(
                "--source", required=True, metavar="HUB|FOLDER|URI", help="Where it lies.", shell_complete=folders
            ),
            engine_options,
            click.option("--lora-base", default="", metavar="NAME", help="It is a LoRA adapter of this model."),
            click.option("--replicas", type=REPLICAS, metavar="N|MIN:MAX", help="Engines of each job."),
            click.option("--display-name", default="", metavar="TEXT"),
            root_option,
            resource_output,
        )
    ):
        function = option(function)
    return function


@click.command()
@_model_options
def create(name: str, **given: Any) -> None:
    """Register a model under a NAME that rows may ask for."""
    server = server_at(given["root"])
    click.echo(render(_fields(server.models.create(_asked(server, name, given))), given["mode"]))


@click.command()
@_model_options
def update(name: str, **given: Any) -> None:
    """Register a model anew; jobs that were made before keep what they were made with."""
    server = server_at(given["root"])
    click.echo(render(_fields(server.models.update(_asked(server, name, given))), given["mode"]))


@click.command()
@click.argument("name")
@root_option
@resource_output
def get(name: str, root: str, mode: str) -> None:
    """Show a registered model."""
    click.echo(render(_fields(server_at(root).models.existing(name)), mode))


@click.command("list")
@list_options
@root_option
@resource_output
def list_(root: str, mode: str, **given: Any) -> None:
    """List the registered models."""
    items = (_fields(model) for model in server_at(root).models.list())
    columns = ("id", "source", "engine", "base", "create_time", "display_name")
    print_all(items, ListFlags(**given), mode, collection="models", columns=columns)


@click.command()
@click.argument("name")
@root_option
def delete(name: str, root: str) -> None:
    """Let no further job ask for a model; its files stay."""
    server_at(root).models.delete(name)
    click.echo(f"Deleted model {name}.")


def _asked(server: BatchServer, name: str, given: dict[str, Any]) -> ServedModel:
    from batch.clock import rfc3339
    from batch.server.admin.models import ServedModel

    return ServedModel(
        name=name,
        source=_whole(given["source"]),
        created_at=rfc3339(server.clock.now()),
        engine=given["engine"],
        engine_args=dict(engine_arguments(given["engine_arg"])),
        base=given["lora_base"],
        replicas=given["replicas"] or "",
        display_name=given["display_name"],
    )


def _whole(source: str) -> str:
    """A folder that is here by its whole path, since the server starts elsewhere; anything else as it is."""
    from pathlib import Path

    path = Path(source).expanduser()
    return str(path.resolve()) if path.is_dir() else source


def _fields(model: ServedModel) -> Fields:
    return {
        "id": model.name,
        "display_name": model.display_name,
        "source": model.source,
        "engine": model.engine,
        "engine_args": model.engine_args,
        "base": model.base,
        "replicas": model.replicas,
        "create_time": model.created_at,
    }
