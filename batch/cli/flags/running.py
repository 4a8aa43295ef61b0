"""The flags that `run`, `create` and `resume` share: the engine, the limits of a job, the shape of an attempt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from batch.cli.flags.values import KEY_VALUE, REPLICAS, once_each
from batch.spec.engine_arguments import ENGINES

Function = TypeVar("Function", bound=Callable[..., Any])


def engine_options(function: Function) -> Function:
    """--engine and --engine-arg."""
    name = click.option("--engine", type=click.Choice(ENGINES), default="vllm", show_default=True, help="What answers.")
    argument = click.option(
        "--engine-arg", multiple=True, type=KEY_VALUE, metavar="KEY=VALUE", help="A load-time argument of the engine."
    )
    return name(argument(function))


def engine_arguments(pairs: tuple[tuple[str, str], ...]) -> dict[str, str]:
    """--engine-arg KEY=VALUE as a mapping. UsageError for a key given twice."""
    return once_each("--engine-arg", pairs, why="give one value")


def attempt_options(function: Function) -> Function:
    """--replicas and --ray-address: they may differ from one attempt to the next."""
    replicas = click.option("--replicas", type=REPLICAS, metavar="N|MIN:MAX", help="Engines; default: all that fit.")
    address = click.option("--ray-address", metavar="A", help="The cluster to run on; default: this machine.")
    return replicas(address(function))
