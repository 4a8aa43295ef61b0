"""The flags that `run`, `create` and `resume` share: the engine, the limits of a job, the shape of an attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from batch.cli.flags.values import DURATION, FAILURE_BUDGET, KEY_VALUE, REPLICAS
from batch.errors import UsageError
from batch.spec.engine_arguments import ENGINES

Function = TypeVar("Function", bound=Callable[..., Any])


def engine_options(function: Function) -> Function:
    """--engine and --engine-arg."""
    name = click.option("--engine", type=click.Choice(ENGINES), default="vllm", show_default=True, help="What answers.")
    argument = click.option(
        "--engine-arg", multiple=True, type=KEY_VALUE, metavar="KEY=VALUE", help="A load-time argument of the engine."
    )
    return name(argument(function))


def limit_options(function: Function) -> Function:
    """What the job tolerates, how long it may take, how it keeps answers and how it writes them."""
    for option in reversed(
        (
            click.option(
                "--on-invalid",
                type=click.Choice(["quarantine", "fail"]),
                default="quarantine",
                show_default=True,
                help="Write bad lines to errors/, or refuse the whole job before an engine starts.",
            ),
            click.option(
                "--max-failed-rows",
                type=FAILURE_BUDGET,
                metavar="N|P%",
                help="Fail the job beyond so many failed rows.",
            ),
            click.option("--deadline", type=DURATION, metavar="24h", help="Expire the job so long after its creation."),
            click.option(
                "--row-timeout",
                type=DURATION,
                metavar="10m",
                help="Fail a row not answered in that time. Default: ten times the slowest answered row, at least 10m.",
            ),
            click.option(
                "--journal-every",
                type=DURATION,
                default="30s",
                show_default=True,
                help="Keep answers that often: what a crash may cost, besides the rows in flight.",
            ),
            click.option(
                "--deduplicate/--no-deduplicate",
                default=True,
                show_default=True,
                help="Ask equal requests once, where temperature 0 or a seed determines the answer.",
            ),
            click.option(
                "--order-by-prefix/--no-order-by-prefix",
                default=True,
                show_default=True,
                help="Ask rows that share a prefix one after another; the output keeps the order of the input.",
            ),
            click.option(
                "--output-format",
                type=click.Choice(["jsonl", "parquet"]),
                default="jsonl",
                show_default=True,
                help="parquet adds typed columns.",
            ),
        )
    ):
        function = option(function)
    return function


def attempt_options(function: Function) -> Function:
    """--replicas and --ray-address: they may differ from one attempt to the next."""
    replicas = click.option("--replicas", type=REPLICAS, metavar="N|MIN:MAX", help="Engines; default: all that fit.")
    address = click.option("--ray-address", metavar="A", help="The cluster to run on; default: this machine.")
    return replicas(address(function))


def once_each(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """--engine-arg KEY=VALUE as a mapping. UsageError for a key given twice."""
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"--engine-arg {twice}: given twice; give one value.")
    return dict(pairs)
