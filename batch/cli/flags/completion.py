"""What a shell offers at TAB for a word of a command line: files, folders, the ids of jobs and datasets, codes.

A place where nothing can be looked up offers nothing: a shell shows no errors while somebody types.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from batch.cli.flags.common import settings
from batch.errors import BatchError
from batch.result import Code
from connectors.errors import InputError, StoreError

if TYPE_CHECKING:
    from batch.workspace.store import Workspace

Items = list[CompletionItem]


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:  # noqa: ARG001  (as click calls it)
    """Any file: the shell's own completion."""
    return [CompletionItem(incomplete, type="file")]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:  # noqa: ARG001
    """Any folder: the shell's own completion."""
    return [CompletionItem(incomplete, type="dir")]


def jobs(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:  # noqa: ARG001
    """The ids of the workspace's jobs."""
    with suppress(BatchError, StoreError, InputError, OSError):
        return _starting(incomplete, (pointer.job_id for pointer in _workspace(ctx).jobs()))
    return []


def jobs_and_folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """The ids of the workspace's jobs; where none begins so, folders."""
    return [*folders(ctx, param, incomplete), *jobs(ctx, param, incomplete)]


def datasets(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:  # noqa: ARG001
    """The ids of the workspace's datasets."""
    with suppress(BatchError, StoreError, InputError, OSError):
        return _starting(incomplete, (record.dataset_id for record in _workspace(ctx).datasets(incomplete)))
    return []


def codes(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:  # noqa: ARG001
    """The codes of failed rows."""
    return _starting(incomplete, Code)


def _starting(incomplete: str, words: Iterable[str]) -> Items:
    return [CompletionItem(str(word)) for word in words if word.startswith(incomplete)]


def _workspace(ctx: click.Context) -> Workspace:
    from batch.workspace.store import Workspace

    found = settings(ctx)
    return Workspace(found.workspace, found.account_id)
