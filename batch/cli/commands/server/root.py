"""Which server a command is about, and how what it keeps is printed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batch.cli.output.resources import Fields, ListFlags, print_pages
from batch.errors import UsageError

if TYPE_CHECKING:
    from batch.server.admin.root import Account
    from batch.server.server import BatchServer
    from batch.workspace.listing import Page, Query

Function = TypeVar("Function", bound=Callable[..., Any])


def root_option(function: Function) -> Function:
    """--root."""
    option = click.option(
        "--root", envvar="BATCHCTL_ROOT", metavar="URI", required=True, help="Where the server keeps everything."
    )
    return option(function)


def server_at(root: str) -> BatchServer:
    """The server over a root. BadUri."""
    from batch.server.admin.root import ServerRoot
    from batch.server.server import BatchServer

    return BatchServer(ServerRoot(root))


def existing_account(server: BatchServer, account_id: str) -> Account:
    """The account. UsageError: there is none."""
    account = server.root.account(account_id)
    if account is None:
        known = ", ".join(server.root.account_ids()) or "none"
        raise UsageError(
            f"There is no account {account_id!r} in {server.root.uri} (there are: {known}); "
            f"`batchctl create account {account_id}` makes it."
        )
    return account


def print_all(items: Iterable[Fields], flags: ListFlags, mode: str, *, collection: str, columns: Sequence[str]) -> None:
    """Print what a server keeps, as `list` prints everything; `columns`: the first is the id."""
    from batch.workspace.listing import Listing

    kept = list(items)
    names = {name for item in kept for name in item} | set(columns)
    fields = {name: itemgetter(name) for name in names}
    listing: Listing[Fields] = Listing(fields, key=columns[0], default_order=columns[0])

    def pages(query: Query) -> Page[Fields]:
        return listing.page(kept, query)

    print_pages(flags, mode, collection=collection, columns=columns, pages=pages)
