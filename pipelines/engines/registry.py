"""From the engine's name in a job spec to a started engine; each is imported only when a job asks for it."""

from batch.errors import UsageError
from batch.spec import JobSpec
from pipelines.engines.base import Engine


async def start_engine(spec: JobSpec, model: str) -> Engine:
    """Start the engine that the spec names. `model` is where the weights are on this machine.

    Raises UsageError for an unknown name and whatever the engine raises when it cannot start.
    """
    match spec.engine:
        case "vllm":
            from pipelines.engines.vllm import VllmEngine

            return await VllmEngine.start(spec, model)
        case "openai":
            from pipelines.engines.openai import OpenAIEngine

            return await OpenAIEngine.start(spec)
        case "echo":
            from pipelines.engines.echo import EchoEngine

            return await EchoEngine.start(spec)
        case unknown:
            raise UsageError(f"engine {unknown!r}: expected one of vllm, openai, echo")
