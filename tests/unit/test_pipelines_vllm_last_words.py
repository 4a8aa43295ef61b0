"""What the processes of an engine say when they fail, without vLLM: forks that log as its own do."""

import logging
import os
import signal
from collections.abc import Callable

import pytest

from pipelines.engines.vllm.last_words import FATAL_LOGGERS, LastWords
from pipelines.processes import fork_server

CORE, WORKERS = map(logging.getLogger, FATAL_LOGGERS)


@pytest.fixture(autouse=True, scope="module")
def server() -> None:
    fork_server.start((__name__,), {})


def fails() -> None:
    failing(CORE, RuntimeError("Found no driver.\nPlease install one."))


def fails_by_another() -> None:
    try:
        raise OSError("no such device")
    except OSError as cause:
        error = ValueError("the model cannot be loaded")
        error.__cause__ = cause
    failing(CORE, error)


def fails_after_its_worker() -> None:
    if os.fork() == 0:
        failing(WORKERS, ValueError("no weights in model.safetensors"))
        os._exit(1)
    os.wait()
    failing(CORE, Exception("WorkerProc initialization failed due to an exception. See stack trace for root cause."))


def fails_after_its_worker_was_killed() -> None:
    failing(CORE, Exception("WorkerProc initialization failed due to an exception. See stack trace for root cause."))


def fails_for_ever() -> None:
    for number in range(10_000):
        failing(CORE, ValueError(f"{number}: {'x' * 100_000}"))


def is_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def says_nothing() -> None:
    logging.getLogger("vllm.elsewhere").error("a warning of no matter", exc_info=ValueError("none"))


def failing(logger: logging.Logger, error: Exception) -> None:
    logger.error("failed to start", exc_info=error)


@pytest.mark.parametrize(
    ("target", "cause"),
    [
        (fails, "RuntimeError: Found no driver."),
        (fails_by_another, "OSError: no such device"),
        (fails_after_its_worker, "ValueError: no weights in model.safetensors"),
        (
            fails_after_its_worker_was_killed,
            "one of its processes was ended without a word, as the system does when memory runs out",
        ),
        (is_killed, "its process EngineCore was ended by SIGKILL, as the system does when memory runs out"),
        (says_nothing, None),
    ],
)
def test_the_first_exception_of_any_process_is_the_cause(target: Callable[[], None], cause: str | None) -> None:
    words = LastWords()
    process = words.context().Process(target=target, name="EngineCore", kwargs={})
    process.start()
    process.join()

    assert words.cause() == cause
    assert words.cause() == cause


def test_a_process_that_fails_on_and_on_never_waits_to_be_heard() -> None:
    words = LastWords()
    process = words.context().Process(target=fails_for_ever, name="EngineCore", kwargs={})
    process.start()
    process.join()

    cause = words.cause()
    assert cause is not None
    assert cause.startswith("ValueError: 0: xxx")
    assert len(cause) == 1000


def test_processes_are_our_forks_only_where_vllm_itself_would_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.engines.vllm.engine import process_context

    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    assert isinstance(process_context(LastWords()), fork_server.ForkedContext)

    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "spawn")
    assert process_context(LastWords()).get_start_method() == "spawn"
