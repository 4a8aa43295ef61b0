"""Where vLLM's EngineCore comes from: a fork of a process that imported vLLM while this one did.

In a Ray actor vLLM spawns it, after all that it has done itself, and the new process imports all of that again. Here
Python's own fork server imports it at the same time as the actor: docs/decisions/0009.
Knows nothing of jobs and of what the engine is asked.
"""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import context, forkserver
from typing import Any

PRELOADED = "pipelines.engines.preloaded"


def preload() -> None:
    """Start the fork server, and with it the import of vLLM; the environment of the engine must be set already."""
    forkserver.set_forkserver_preload([PRELOADED])
    forkserver.ensure_running()


@contextmanager
def collector_paused() -> Iterator[None]:
    """For an import: what it makes stays, and to look for garbage in it takes a fifth of vLLM's time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class ForkedContext(context.ForkServerContext):
    """Starts processes with the environment that this one has now: the fork server's is older."""

    def Process(  # type: ignore[override]  # noqa: N802 - multiprocessing's name
        self, *, target: Callable[..., None], name: str, kwargs: dict[str, Any]
    ) -> context.ForkServerProcess:
        """Return the process that calls `target` with `kwargs`, not started yet."""
        return context.ForkServerProcess(
            target=_in_environment, args=(dict(os.environ), target), kwargs=kwargs, name=name
        )


def _in_environment(environment: dict[str, str], target: Callable[..., None], /, **arguments: object) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items() - os.environ.items():  # no others: setproctitle needs them where they lie
        os.environ[name] = value
    target(**arguments)
