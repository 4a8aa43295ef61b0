"""`create|list|delete api-key`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from batch.cli.commands.server.root import existing_account, print_all, root_option, server_at
from batch.cli.flags.values import Duration
from batch.cli.output.resources import Fields, ListFlags, list_options, render, resource_output
from batch.errors import UsageError

if TYPE_CHECKING:
    from batch.server.admin.keys import ApiKey

_account = click.option("--account", required=True, metavar="ID", help="The account that the key is of.")


@click.command()
@_account
@click.option("--user", default="", metavar="ID", help="Who uses it: the maker of what is made with it.")
@click.option("--role", type=click.Choice(["admin", "user", "viewer"]), default="user", show_default=True)
@click.option("--display-name", default="", metavar="TEXT")
@click.option("--expires-in", type=Duration(), metavar="90d", help="Default: never.")
@root_option
@resource_output
def create(**given: Any) -> None:
    """Create an API key. It is shown now and never again; only its digest is stored."""
    from datetime import timedelta

    from batch.clock import rfc3339
    from batch.server.admin.keys import Role

    server = server_at(given["root"])
    life_s = given["expires_in"]
    secret, key = server.keys.create(
        existing_account(server, given["account"]).account_id,
        user_id=given["user"],
        role=Role(given["role"]),
        display_name=given["display_name"],
        expires_at=rfc3339(server.clock.now() + timedelta(seconds=life_s)) if life_s else "",
    )
    click.echo(render({"key": secret} | _fields(key), given["mode"]))


@click.command("list")
@_account
@list_options
@root_option
@resource_output
def list_(account: str, root: str, mode: str, **given: Any) -> None:
    """List the API keys of an account, without the keys themselves."""
    server = server_at(root)
    items = (_fields(key) for key in server.keys.of_account(existing_account(server, account).account_id))
    columns = ("id", "prefix", "user", "role", "create_time", "expire_time", "display_name")
    print_all(items, ListFlags(**given), mode, collection="api_keys", columns=columns)


@click.command()
@click.argument("key_id")
@_account
@root_option
def delete(key_id: str, account: str, root: str) -> None:
    """Delete an API key: within a minute it lets nobody in."""
    server = server_at(root)
    if not server.keys.delete(existing_account(server, account).account_id, key_id):
        raise UsageError(f"Account {account!r} has no API key {key_id!r}; `batchctl list api-keys` shows their ids.")
    click.echo(f"Deleted API key {key_id}.")


def _fields(key: ApiKey) -> Fields:
    return {
        "id": key.key_id,
        "prefix": key.prefix,
        "account_id": key.account_id,
        "user": key.user_id,
        "role": key.role.value,
        "create_time": key.created_at,
        "expire_time": key.expires_at,
        "display_name": key.display_name,
    }
