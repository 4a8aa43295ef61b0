"""The root of batchctl: the table of commands, and the one place where errors become a sentence and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from batch.cli.flags.common import global_options, version_option
from batch.cli.lazy import Entry, LazyGroup
from batch.errors import BatchError
from batch.exit_codes import ExitCode
from batch.text import one_line
from connectors.errors import InputError, NotFound, StoreError

# Flags of `vllm run-batch`, which many hands know.
_INPUTS, _OUTPUT = "files of requests are named without a flag: INPUT...", "where results go is said by --output OUT."
_ELSEWHERE = {"-i": _INPUTS, "--input-file": _INPUTS, "--output-file": _OUTPUT, "--output-dir": _OUTPUT}


class Batchctl(LazyGroup):
    """The root group; called as a program it prints one sentence for every error that is not a bug."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,  # noqa: ARG002  (one name, however it was started)
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        def call() -> Any:
            return super(Batchctl, self).main(args, "batchctl", complete_var, False, **extra)

        if not standalone_mode:
            return call()
        try:
            code = call()
        except (click.ClickException, click.Abort, BatchError, StoreError, InputError, OSError) as error:
            code = report(error)
        sys.exit(code if isinstance(code, int) else 0)


def report(error: BaseException) -> int:
    """Print the error as one sentence on stderr and give its exit code."""
    if isinstance(error, click.Abort):
        click.echo("batchctl: interrupted.", err=True)
        return ExitCode.INTERRUPTED
    click.echo(f"batchctl: {one_line(_message(error))}", err=True)
    if isinstance(error, BatchError):
        return error.exit_code
    return ExitCode.USAGE if isinstance(error, (click.UsageError, InputError, NotFound)) else ExitCode.FAILED


def _message(error: BaseException) -> str:
    if isinstance(error, click.NoSuchOption) and error.option_name in _ELSEWHERE:
        return f"No such option {error.option_name!r}: {_ELSEWHERE[error.option_name]}"
    return error.format_message() if isinstance(error, click.ClickException) else str(error)


@click.group(
    cls=Batchctl,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    entries={
        "run": Entry("batch.cli.commands.run:run", "Run files of requests through a model; the same command resumes."),
        "validate": Entry(
            "batch.cli.commands.validate:validate", "Check every line of the input without starting an engine."
        ),
        "serve": Entry("batch.cli.commands.server.serve:serve", "Serve the clients of OpenAI's Batch API."),
        "create": Entry("batch.cli.commands.verbs:create", "Create a dataset, a job, or what a server keeps."),
        "get": Entry("batch.cli.commands.verbs:get", "Show one dataset, job, account or model."),
        "list": Entry("batch.cli.commands.verbs:list_", "List datasets, jobs, or what a server keeps."),
        "update": Entry("batch.cli.commands.verbs:update", "Change a dataset's display name, an account or a model."),
        "delete": Entry("batch.cli.commands.verbs:delete", "Delete a dataset, a job, an API key or a model."),
        "download": Entry("batch.cli.commands.verbs:download", "Copy a dataset's files to a folder."),
        "cancel": Entry("batch.cli.commands.verbs:cancel", "Cancel a job, keeping the rows that are done."),
        "resume": Entry(
            "batch.cli.commands.verbs:resume", "Go on with a job that was interrupted, or retry its failed rows."
        ),
        "results": Entry("batch.cli.commands.results:results", "Stream a job's result lines, in input order."),
        "status": Entry("batch.cli.commands.status:status", "Show how a job stands, and where its log is."),
        "logs": Entry("batch.cli.commands.watch:logs", "Print the log of a job's latest attempt."),
        "watch": Entry("batch.cli.commands.watch:watch", "Follow a job until it ends."),
        "clean": Entry("batch.cli.commands.clean:clean", "Show or remove what crashed jobs have left on this machine."),
        "version": Entry("batch.cli.commands.about:version", "Print the versions of batchctl and Python."),
        "whoami": Entry("batch.cli.commands.about:whoami", "Print the account and workspace in use."),
    },
    aliases={"ls": "list"},
)
@version_option
@global_options
def batchctl() -> None:
    """Batch inference over files of requests: every line ends as one result or one error, whatever breaks."""


def main() -> NoReturn:
    """The console script."""
    batchctl.main()
    raise AssertionError("unreachable: the line above exits")
