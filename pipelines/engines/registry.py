"""From the engine's name in a job spec to a started engine; each is imported only when a job asks for it."""

import math

from batch.errors import UsageError
from batch.spec import JobSpec
from pipelines.engines.base import Engine, Needs, Waiting
from pipelines.sizing import Machine


def engine_needs(spec: JobSpec) -> Needs:
    """Return what one engine of the job takes. Imports no engine's library."""
    match spec.engine:
        case "vllm":
            sizes = (int(spec.engine_args.get(f"{kind}_parallel_size", 1)) for kind in ("tensor", "pipeline"))
            return Needs(ranks=math.prod(sizes), uses_gpus=True)
        case "echo":
            gpus = int(spec.engine_args.get("gpus", 0))
            return Needs(ranks=gpus or 1, uses_gpus=gpus > 0)
        case _:
            return Needs()


async def start_engine(spec: JobSpec, model: str, machine: Machine, *, rows: int, waiting: Waiting) -> Engine:
    """Start the engine that the spec names on `machine`, for a job of `rows`. `model` is where the weights are.

    `waiting`: says which requests wait for it, more each time; an engine that takes long prepares them.

    Raises UsageError for an unknown name and whatever the engine raises when it cannot start.
    """
    match spec.engine:
        case "vllm":
            from pipelines.engines.vllm import VllmEngine  # at once: the fork server has imported it

            return await VllmEngine.start(spec, model, machine, rows=rows, waiting=waiting)
        case "openai":
            from pipelines.engines.openai import OpenAIEngine

            return await OpenAIEngine.start(spec)
        case "echo":
            from pipelines.engines.echo import EchoEngine

            return await EchoEngine.start(spec)
        case unknown:
            raise UsageError(f"engine {unknown!r}: expected one of vllm, openai, echo")
