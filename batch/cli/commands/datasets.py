"""`create|get|list|update|delete|download dataset`."""

from __future__ import annotations

from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from batch.cli.flags import completion
from batch.cli.flags.common import global_options, settings
from batch.cli.flags.completion import datasets, folders
from batch.cli.output.resources import ListFlags, list_options, print_pages, render, resource_output
from batch.errors import UsageError

if TYPE_CHECKING:
    from batch.workspace.listing import Page, Query
    from batch.workspace.store import DatasetRecord, Workspace

BLOCK_BYTES = 1 << 20
FIELDS = ("name", "id", "display_name", "state", "create_time", "created_by", "example_count", "source_job_id")
COLUMNS = ("id", "state", "example_count", "create_time", "display_name")


@click.command()
@click.argument("dataset_id")
@click.argument("files", nargs=-1, metavar="[FILE]...", shell_complete=completion.files)
@click.option("--display-name", default="", metavar="TEXT")
@click.option("--external-url", metavar="URI", help="Read the files where they are, instead of copying them.")
@click.option("--quiet", is_flag=True, help="Print nothing.")
@click.option("--dry-run", is_flag=True, help="Print the dataset without creating it.")
@resource_output
@global_options
@click.pass_context
def create(ctx: click.Context, /, dataset_id: str, files: tuple[str, ...], mode: str, **given: Any) -> None:
    """Create a dataset of FILEs, copied, or of what lies at --external-url."""
    workspace = _workspace(ctx)
    record, paths = _new_record(workspace, dataset_id, files, given["external_url"], given["display_name"])
    standing = workspace.dataset(record.dataset_id)
    if standing is not None:
        raise UsageError(f"Dataset {dataset_id!r} already exists in {workspace.uri}; use another id or delete it.")
    if not given["dry_run"]:
        record = workspace.create_dataset(record, {path.name: path.read_bytes() for path in paths})
    if not given["quiet"]:
        click.echo(render(fields_of(workspace, record), mode))


def _new_record(
    workspace: Workspace, dataset_id: str, files: tuple[str, ...], external_url: str | None, display_name: str
) -> tuple[DatasetRecord, list[Path]]:
    from batch.clock import SystemClock, rfc3339
    from batch.workspace.store import DatasetFile, DatasetRecord, Origin
    from connectors.uri import parse_pattern

    if bool(files) == bool(external_url):
        raise UsageError("Name the files of the dataset, or --external-url URI, and not both.")
    paths = [path for name in files for path in _paths(name)]
    rows = sum(_count_rows(path) for path in paths)
    names = [path.name for path in paths]
    if len(set(names)) < len(names):
        raise UsageError(f"Two of the files have the same name: {', '.join(sorted(names))}.")
    record = DatasetRecord(
        dataset_id=workspace.bare_id("datasets", dataset_id),
        origin=Origin.STORED if paths else Origin.EXTERNAL,
        created_at=rfc3339(SystemClock().now()),
        created_by=workspace.account_id,
        display_name=display_name,
        files=tuple(DatasetFile(path.name, path.stat().st_size) for path in paths),
        rows=rows if paths else None,
        external_uri=str(parse_pattern(external_url)) if external_url else "",
    )
    return record, paths


def _paths(name: str) -> list[Path]:
    """The local files behind a name or a pattern. UsageError for a folder or an address; NotFound."""
    from connectors.datasets.reader import find_inputs
    from connectors.uri import parse_uri

    if "://" in name and not name.startswith("file:"):
        raise UsageError(f"{name} is not on this machine; --external-url {name} reads it where it is.")
    if Path(name).expanduser().is_dir():
        raise UsageError(f"{name} is a folder; name its files, or give it as --external-url.")
    return [Path(parse_uri(file.uri).path) for file in find_inputs([name])]


def _count_rows(path: Path) -> int:
    """The rows of one local file. UsageError for a file too big to copy; UnsupportedFormat."""
    from batch.sdk.dataset import MAX_COPIED_BYTES, MAX_LINE_BYTES
    from connectors.datasets.reader import find_inputs, scan

    (file,) = find_inputs([str(path)])
    if file.size_bytes > MAX_COPIED_BYTES:
        raise UsageError(f"{path} has {file.size_bytes:,} bytes, too many to copy; give it as --external-url.")
    return sum(1 for _, line in scan(file, max_line_bytes=MAX_LINE_BYTES) if not line.is_blank)


@click.command()
@click.argument("dataset_id", shell_complete=datasets)
@resource_output
@global_options
@click.pass_context
def get(ctx: click.Context, /, dataset_id: str, mode: str) -> None:
    """Show a dataset."""
    workspace = _workspace(ctx)
    click.echo(render(fields_of(workspace, _existing(workspace, dataset_id)), mode))


@click.command("list")
@list_options
@resource_output
@global_options
@click.pass_context
def list_(ctx: click.Context, /, mode: str, **given: Any) -> None:
    """List the datasets of the workspace."""
    from batch.workspace.listing import Listing

    workspace = _workspace(ctx)
    datasets: Listing[dict[str, Any]] = Listing(
        {name: itemgetter(name) for name in FIELDS}, key="name", default_order="name"
    )

    def pages(query: Query) -> Page[dict[str, Any]]:
        return datasets.page((fields_of(workspace, record) for record in workspace.datasets()), query)

    print_pages(ListFlags(**given), mode, collection="datasets", columns=COLUMNS, pages=pages)


@click.command()
@click.argument("dataset_id", shell_complete=datasets)
@click.option("--display-name", required=True, metavar="TEXT")
@resource_output
@global_options
@click.pass_context
def update(ctx: click.Context, /, dataset_id: str, display_name: str, mode: str) -> None:
    """Change a dataset's display name."""
    workspace = _workspace(ctx)
    renamed = workspace.rename_dataset(_existing(workspace, dataset_id).dataset_id, display_name)
    if renamed is None:
        raise UsageError(f"Dataset {dataset_id!r} was deleted meanwhile.")
    click.echo(render(fields_of(workspace, renamed), mode))


@click.command()
@click.argument("dataset_id", shell_complete=datasets)
@click.option("--force", is_flag=True, help="Also while a job that has not ended reads or writes it.")
@global_options
@click.pass_context
def delete(ctx: click.Context, /, dataset_id: str, force: bool) -> None:
    """Delete a dataset with its files; those at an external URL stay."""
    from batch.sdk.dataset import Dataset

    workspace = _workspace(ctx)
    record = _existing(workspace, dataset_id)
    Dataset(record, workspace).delete(force=force)
    click.echo(f"Deleted dataset {record.dataset_id}.")


@click.command()
@click.argument("dataset_id", shell_complete=datasets)
@click.option(
    "--output-dir",
    default=".",
    show_default=True,
    metavar="DIR",
    help="Where to put the files.",
    shell_complete=folders,
)
@click.option("--quiet", is_flag=True, help="Do not name the files.")
@global_options
@click.pass_context
def download(ctx: click.Context, /, dataset_id: str, output_dir: str, quiet: bool) -> None:
    """Copy a dataset's files to a folder; a job's output becomes results.jsonl and errors.jsonl."""
    workspace = _workspace(ctx)
    record = _existing(workspace, dataset_id)
    folder = Path(output_dir).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in _contents(workspace, record):
        path = folder / name
        with path.open("wb") as target:
            for block in content:
                target.write(block)
        if not quiet:
            click.echo(path)


def _contents(workspace: Workspace, record: DatasetRecord) -> Iterator[tuple[str, Iterator[bytes]]]:
    """(file name, its blocks) of each file of a dataset."""
    from batch.jobs.store import JobStore
    from batch.planning.input_files import find_inputs
    from batch.workspace.store import Origin
    from connectors.stores.registry import locate

    if record.origin is Origin.JOB:
        job_store = JobStore.open(workspace.dataset_uri(record.dataset_id))
        yield "results.jsonl", (line + b"\n" for line in job_store.lines("results"))
        yield "errors.jsonl", (line + b"\n" for line in job_store.lines("errors"))
        return
    for file in find_inputs(workspace.inputs_of(record.dataset_id)):
        store, key = locate(file.uri)
        yield PurePosixPath(key).name, _blocks(store.open(key, etag=file.etag))


def _blocks(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        while block := stream.read(BLOCK_BYTES):
            yield block


def fields_of(workspace: Workspace, record: DatasetRecord) -> dict[str, Any]:
    """A dataset as it is listed and printed."""
    from batch.workspace.store import Origin

    folder = record.external_uri or workspace.dataset_uri(record.dataset_id)
    return {
        "name": workspace.full_name("datasets", record.dataset_id),
        "id": record.dataset_id,
        "display_name": record.display_name,
        "state": "READY" if record.origin is not Origin.JOB else "WRITTEN_BY_JOB",
        "create_time": record.created_at,
        "created_by": record.created_by,
        "example_count": record.rows,
        "external_url": record.external_uri,
        "source_job_id": record.source_job_id,
        "url": folder,
    }


def _workspace(ctx: click.Context) -> Workspace:
    from batch.workspace.store import Workspace

    found = settings(ctx)
    return Workspace(found.workspace, found.account_id)


def _existing(workspace: Workspace, dataset_id: str) -> DatasetRecord:
    record = workspace.dataset(workspace.bare_id("datasets", dataset_id))
    if record is None:
        raise UsageError(f"There is no dataset {dataset_id!r} in {workspace.uri}.")
    return record
