"""What the processes of a vLLM engine say when they fail, heard by the process that started them.

vLLM says "see root cause above", which stands in another process's log. Knows nothing of jobs.
"""

import logging
import signal
from collections.abc import Callable
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from typing import Any

from pipelines.errors import root_cause, told
from pipelines.processes.fork_server import ForkedContext

FATAL_LOGGERS = ("vllm.v1.engine.core", "vllm.v1.executor.multiproc_executor")
"""Where EngineCore and its workers log the exception that ends them."""
HOLLOW = ("WorkerProc initialization failed", "Executor failed", "Worker failed with error", "cancelled")
"""How EngineCore tells that one of its workers has failed."""
MAX_CHARACTERS = 1000  # a pipe takes so few at one go, so that those of two processes do not mix
MAX_WORDS = 3


class LastWords:
    """Of all processes of one engine: those that `context` makes, and their forks."""

    def __init__(self) -> None:
        self._hearing, self._telling = Pipe(duplex=False)
        self._heard: list[str] = []
        self._processes: list[ForkServerProcess] = []

    def context(self) -> ForkedContext:
        """Return what takes the place of vLLM's context of multiprocessing."""
        return _TellingContext(self._telling, self._processes)

    def cause(self) -> str | None:
        """Return why the engine ended, in one sentence; None when no process has said anything, nor was killed.

        The first exception of any process is the cause, and what others say after it is what came of that.
        """
        while self._hearing.poll():
            self._heard.append(self._hearing.recv())
        said = [words for words in self._heard if not any(hollow in words for hollow in HOLLOW)]
        if said:
            return said[0]
        killed = [process for process in self._processes if (process.exitcode or 0) < 0]
        if killed:
            return f"its process {killed[0].name} was ended by {_signal(-(killed[0].exitcode or 0))}"
        return f"one of its processes was ended without a word, {_OF_MEMORY}" if self._heard else None


_OF_MEMORY = "as the system does when memory runs out"


class _TellingContext(ForkedContext):
    def __init__(self, telling: Connection, processes: list[ForkServerProcess]) -> None:
        super().__init__()
        self._telling = telling
        self._made = processes

    def Process(  # type: ignore[override]  # noqa: N802 - multiprocessing's name
        self, *, target: Callable[..., None], name: str, kwargs: dict[str, Any]
    ) -> ForkServerProcess:
        process = super().Process(target=partial(_telling, self._telling, target), name=name, kwargs=kwargs)
        self._made.append(process)
        return process


class _Telling(logging.Filter):
    """Sends the exceptions that are logged, no more than the pipe holds when nobody listens; lets every record pass.

    A filter, because vLLM configures its loggers anew in each process, which takes their handlers away.
    """

    def __init__(self, telling: Connection) -> None:
        super().__init__()
        self._pipe = telling
        self._left = MAX_WORDS

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and self._left:
            self._left -= 1
            self._pipe.send(told(root_cause(error))[:MAX_CHARACTERS])
        return True


def _telling(telling: Connection, target: Callable[..., None], /, **arguments: object) -> None:
    for name in FATAL_LOGGERS:
        logging.getLogger(name).addFilter(_Telling(telling))
    target(**arguments)


def _signal(number: int) -> str:
    name = signal.Signals(number).name
    return f"{name}, {_OF_MEMORY}" if number == signal.SIGKILL else name
