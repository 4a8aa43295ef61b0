"""`create|list account`."""

from __future__ import annotations

from typing import Any

import click

from batch.cli.commands.server.root import print_all, root_option, server_at
from batch.cli.output.resources import ListFlags, list_options, render, resource_output


@click.command()
@click.argument("account_id")
@click.option("--display-name", default="", metavar="TEXT")
@root_option
@resource_output
def create(account_id: str, display_name: str, root: str, mode: str) -> None:
    """Create an account: whose datasets and jobs stand together. One that is there stays as it is."""
    account = server_at(root).create_account(account_id, display_name)
    fields = {"id": account.account_id, "display_name": account.display_name, "create_time": account.created_at}
    click.echo(render(fields, mode))


@click.command("list")
@list_options
@root_option
@resource_output
def list_(root: str, mode: str, **given: Any) -> None:
    """List the accounts of a server."""
    server = server_at(root)
    found = [account for own_id in server.root.account_ids() if (account := server.root.account(own_id)) is not None]
    items = (
        {"id": each.account_id, "display_name": each.display_name, "create_time": each.created_at} for each in found
    )
    print_all(items, ListFlags(**given), mode, collection="accounts", columns=("id", "create_time", "display_name"))
