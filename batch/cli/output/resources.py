"""How datasets and jobs are printed: text, JSON or flags, one or a page of them. Knows neither."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from batch.cli.flags.common import output_option
from batch.text import one_line, table

if TYPE_CHECKING:
    from batch.workspace.listing import Page, Query

Fields = dict[str, Any]
Function = TypeVar("Function", bound=Callable[..., Any])
Item = TypeVar("Item")

resource_output = output_option("text", "json", "flag")


@dataclass(frozen=True, slots=True)
class ListFlags:
    """The flags of every `list`; each field is the flag of its name."""

    filter: str
    order_by: str
    page_size: int
    page_token: str
    no_paginate: bool

    def query(self) -> Query:
        """The first page that is asked for."""
        from batch.workspace.listing import MAX_PAGE_SIZE, Query

        size = MAX_PAGE_SIZE if self.no_paginate else self.page_size
        return Query(self.filter, self.order_by, size, self.page_token)


def list_options(function: Function) -> Function:
    """The options of ListFlags."""
    for option in reversed(
        (
            click.option("--filter", default="", metavar="TEXT", help="Such as: state=COMPLETED AND model:llama."),
            click.option("--order-by", default="", metavar="FIELDS", help="Such as: create_time desc, name."),
            click.option(
                "--page-size", type=click.IntRange(1, 200), default=50, show_default=True, help="How many at once."
            ),
            click.option("--page-token", default="", metavar="TOKEN", help="Where the page before this one ended."),
            click.option("--no-paginate", is_flag=True, help="All of them at once."),
        )
    ):
        function = option(function)
    return function


def render(fields: Fields, mode: str) -> str:
    """One resource as lines of text, a JSON object, or the flags that would set it; what is empty is left out."""
    if mode == "json":
        return json.dumps(fields, indent=2, ensure_ascii=False)
    given = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    if mode == "flag":
        return " ".join(f"--{name.replace('_', '-')}={shlex.quote(_text(value))}" for name, value in given.items())
    width = max((len(name) for name in given), default=0) + 1
    return "\n".join(
        f"{name.replace('_', ' ').capitalize() + ':':<{width}} {_text(value)}" for name, value in given.items()
    )


def _text(value: Any) -> str:
    return one_line(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def print_pages(
    flags: ListFlags, mode: str, *, collection: str, columns: Sequence[str], pages: Callable[[Query], Page[Fields]]
) -> None:
    """Print the page that was asked for, or all of them, and how to get the next one."""
    query = flags.query()
    page = pages(query)
    items = list(page.items)
    while flags.no_paginate and page.next_page_token:
        page = pages(replace(query, page_token=page.next_page_token))
        items += page.items
    if mode == "json":
        answer = {collection: items, "next_page_token": page.next_page_token, "total_size": page.total_size}
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    elif mode == "flag":
        click.echo("\n".join(render(item, "flag") for item in items))
    else:
        headers = [column.upper().replace("_", " ") for column in columns]
        click.echo(table(headers, [[_text(item.get(column) or "-") for column in columns] for item in items]))
    if page.next_page_token and mode != "json":
        click.echo(
            f"{len(items):,} of {page.total_size:,}; the next page: --page-token {page.next_page_token}", err=True
        )
