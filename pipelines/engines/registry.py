"""From an engine configuration to a started engine; each is imported only when a job asks for it."""

from batch.errors import UsageError
from batch.spec.engine_config import EngineConfig
from pipelines.engines.base import Engine, Waiting
from pipelines.engines.companions import misfits_named
from pipelines.processes.sizing import Machine


async def start_engine(config: EngineConfig, machine: Machine, *, rows: int, waiting: Waiting) -> Engine:
    """Start the engine on `machine`, for a job of `rows`. The configuration names where its weights are here.

    `waiting`: says which requests wait for it, more each time; an engine that takes long prepares them.

    Raises UsageError for an unknown name and whatever the engine raises when it cannot start.
    """
    match config.engine:
        case "vllm":
            with misfits_named():
                from pipelines.engines.vllm.engine import VllmEngine  # at once: the fork server has imported it

            return await VllmEngine.start(config, machine, rows=rows, waiting=waiting)
        case "openai":
            from pipelines.engines.openai.engine import OpenAIEngine

            return await OpenAIEngine.start(config)
        case "echo":
            from pipelines.engines.echo import EchoEngine

            return await EchoEngine.start(config)
        case unknown:
            raise UsageError(f"engine {unknown!r}: expected one of vllm, openai, echo")
