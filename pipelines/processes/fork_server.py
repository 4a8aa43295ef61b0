"""Processes that begin with their modules imported: forks of one server, which one process of a machine starts.

It is Python's own fork server, with three differences: whoever asks for a fork says which environment it has; a fork
does not run the main module of its parent again; and it can have forks itself, from the same server. Knows
nothing of jobs and engines.
"""

import gc
import io
import os
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing import (
    context,
    forkserver,
    get_context,
    popen_forkserver,
    popen_spawn_posix,
    process,
    reduction,
    resource_tracker,
    spawn,
    util,
)
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from pipelines import seams

PARENT_GONE_EXIT = 19
POLL_S = 0.02

_forks: set[int] = set()


def start(modules: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start the server, which imports the `modules`, and be back at once. It and its forks end after this process.

    A server that has imported them already stays; one that has imported others gives way. `environment`: what it has
    more than this process. Ctrl-C reaches neither it nor its forks.
    """
    if not seams.FORK_SERVER.holds():
        return
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None and server._preload_modules != list(modules):
        os.kill(server._forkserver_pid, signal.SIGKILL)  # it would wait for the end of its forks, which go on
        server._stop()
    forkserver.set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # it comes with the server, and its start would unblock interrupts
    with _with_environment(environment), _interrupts_blocked():
        forkserver.ensure_running()


def forks() -> set[int]:
    """Return the pids of all forks that this process has had."""
    return set(_forks)


def await_ends(within_s: float, pids: Collection[int] = _forks) -> None:
    """Return when these forks, or all that this process has had, are gone, or `within_s` later."""
    give_up_at = time.monotonic() + within_s
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < give_up_at:
        time.sleep(POLL_S)


def fork(*, target: Callable[..., None], name: str, kwargs: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    """Have `target` called with `kwargs` in a process with that `environment`, for which nobody waits; return its pid.

    Where the seam is off it is no fork, but a process that imports all anew. Raises OSError or EOFError when the server
    is gone.
    """
    if not seams.FORK_SERVER.holds():
        return _spawn(target, name, kwargs, environment)
    return _Popen(_process(target, name, kwargs, environment)).pid


def _spawn(target: Callable[..., None], name: str, kwargs: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    spawned: Any = get_context("spawn").Process(target=target, name=name, kwargs=kwargs)
    with _with_environment(environment), _interrupts_blocked():
        pid = int(popen_spawn_posix.Popen(spawned).pid)  # not started the usual way: nobody waits for it
    _forks.add(pid)
    return pid


class ForkedContext(context.ForkServerContext):
    """For libraries that take a context of multiprocessing: its processes are forks with this one's environment.

    They end with this process, however that ends.
    """

    def Process(  # type: ignore[override]  # noqa: N802 - multiprocessing's name
        self, *, target: Callable[..., None], name: str, kwargs: dict[str, Any]
    ) -> context.ForkServerProcess:
        """Return the process that calls `target` with `kwargs`, not started yet."""
        return _process(partial(_with_parent, target), name, kwargs, os.environ)


@contextmanager
def collector_paused() -> Iterator[None]:
    """For an import: what it makes stays, and to look for garbage in it takes a fifth of vLLM's time.

    Nor is it looked for later, here or in a fork, which shares the memory as long as nobody touches it.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _ForkedProcess(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> "_Popen":  # noqa: N802 - multiprocessing's name
        return _Popen(process_obj)


def _process(
    target: Callable[..., None], name: str, kwargs: Mapping[str, Any], environment: Mapping[str, str]
) -> _ForkedProcess:
    return _ForkedProcess(target=_in_environment, args=(dict(environment), target), kwargs=kwargs, name=name)


def probe() -> None:
    """Raise Unexpected unless Python's fork server is as `_Popen` and `_ServerOfOurParent` stand on it."""
    names = ("_forkserver_pid", "_preload_modules", "_stop", "ensure_running", "connect_to_new_process")
    seams.expect(forkserver._forkserver, *names)
    launch = popen_forkserver.Popen._launch  # type: ignore[attr-defined]  # private
    seams.expect_use(launch, "get_preparation_data", "connect_to_new_process", "_fds")
    seams.expect_use(forkserver.main, "sigchld_handler", "_serve_one")


class _Popen(popen_forkserver.Popen):
    """As its base class, but for what a fork is told to prepare, and where it comes from."""

    _fds: list[int]

    def _launch(self, process_obj: process.BaseProcess) -> None:
        preparation = spawn.get_preparation_data(process_obj.name)
        told = io.BytesIO()
        context.set_spawning_popen(self)
        try:
            reduction.dump({name: preparation[name] for name in preparation if not name.startswith("init_main")}, told)
            reduction.dump(process_obj, told)
        finally:
            context.set_spawning_popen(None)
        self.sentinel, ours = _server().connect_to_new_process(self._fds)
        # The fork takes this end for its parent's life: it stays open as long as this object.
        self.finalizer = util.Finalize(self, _close, (os.dup(ours), self.sentinel))
        with os.fdopen(ours, "wb") as pipe:
            pipe.write(told.getbuffer())
        self.pid = forkserver.read_signed(self.sentinel)
        _forks.add(self.pid)


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _ServerOfOurParent(forkserver.ForkServer):
    """What a fork knows of its server: Python would start it another one."""

    def __init__(self, known: forkserver.ForkServer) -> None:
        super().__init__()
        vars(self).update(vars(known))

    def ensure_running(self) -> None:
        """It runs as long as any of its forks does."""


def _server() -> forkserver.ForkServer:
    ours = forkserver._forkserver
    return ours if forkserver.get_inherited_fds() is None else _ServerOfOurParent(ours)


def _in_environment(environment: dict[str, str], target: Callable[..., None], /, **arguments: object) -> None:
    for name in os.environ.keys() - environment.keys():
        del os.environ[name]
    for name, value in environment.items() - os.environ.items():  # no others: setproctitle needs them where they lie
        os.environ[name] = value
    tempfile.tempdir = None  # the server's, as it was when a module asked for it
    target(**arguments)


def _with_parent(target: Callable[..., None], /, **arguments: object) -> None:
    Thread(target=_leave_with_parent, name="parent", daemon=True).start()
    target(**arguments)


def _leave_with_parent() -> NoReturn:
    parent = process.parent_process()
    assert parent is not None
    parent.join()
    os._exit(PARENT_GONE_EXIT)


@contextmanager
def _with_environment(more: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(more)
    try:
        yield
    finally:
        for name in more:
            if name in before:
                os.environ[name] = before[name]
            else:
                del os.environ[name]


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """For a process to start with them blocked, and its forks, for good: whoever started it decides when they end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
