"""`create|get|list|update account`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from batch.cli.commands.server.root import existing_account, print_all, root_option, server_at
from batch.cli.output.resources import Fields, ListFlags, list_options, render, resource_output

if TYPE_CHECKING:
    from batch.server.admin.root import Account


@click.command()
@click.argument("account_id")
@click.option("--display-name", default="", metavar="TEXT")
@root_option
@resource_output
def create(account_id: str, display_name: str, root: str, mode: str) -> None:
    """Create an account: whose datasets and jobs stand together. One that is there stays as it is."""
    click.echo(render(_fields(server_at(root).create_account(account_id, display_name)), mode))


@click.command()
@click.argument("account_id")
@root_option
@resource_output
def get(account_id: str, root: str, mode: str) -> None:
    """Show an account and its limits."""
    click.echo(render(_fields(existing_account(server_at(root), account_id)), mode))


@click.command()
@click.argument("account_id")
@click.option("--display-name", metavar="TEXT")
@click.option("--max-unfinished-jobs", type=click.IntRange(min=0), metavar="N", help="Jobs that wait or run at a time.")
@click.option("--max-stored-bytes", type=click.IntRange(min=0), metavar="N", help="Of uploaded files.")
@click.option("--max-priority", type=click.IntRange(-100, 100), metavar="N", help="The highest that a job may have.")
@root_option
@resource_output
def update(account_id: str, root: str, mode: str, **given: Any) -> None:
    """Change an account's name or limits; what is not given stays. Over a limit, a create is answered with 429."""
    from dataclasses import replace

    server = server_at(root)
    changes = {name: value for name, value in given.items() if value is not None}
    account = replace(existing_account(server, account_id), **changes)
    server.root.update_account(account)
    click.echo(render(_fields(account), mode))


@click.command("list")
@list_options
@root_option
@resource_output
def list_(root: str, mode: str, **given: Any) -> None:
    """List the accounts of a server."""
    server = server_at(root)
    found = (server.root.account(own_id) for own_id in server.root.account_ids())
    items = (_fields(account) for account in found if account is not None)
    columns = ("id", "create_time", "max_unfinished_jobs", "max_stored_bytes", "max_priority", "display_name")
    print_all(items, ListFlags(**given), mode, collection="accounts", columns=columns)


def _fields(account: Account) -> Fields:
    from dataclasses import asdict

    shown = asdict(account)
    return {"id": shown.pop("account_id"), "create_time": shown.pop("created_at")} | shown
