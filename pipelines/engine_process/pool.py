"""How an actor comes to its engine process: it asks the pool of its machine, for a job's own cluster the worker.

So vLLM is imported once on a machine, while Ray starts, however many engines there are and however often they die. The
process of a job's only engine need not wait for Ray: it is prestarted, before its actor is there to ask for one. And a
process that has served a job is parked for the next one of its engine configuration, as long as the assignment says.
docs/decisions/0014, 0015, 0036.
"""

import logging
import os
import secrets
import signal
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client, Connection, Listener, wait
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from threading import Event, Lock, RLock, Thread

from batch.records.objects import Epoch
from batch.spec.engine_config import EngineConfig
from pipelines.engine_process import process
from pipelines.engine_process.service import Assignment
from pipelines.processes import fork_server, sizing

logger = logging.getLogger(__name__)

MODULE = "pipelines.engine_process.process"
LIBRARIES = {"vllm": ("pipelines.engines.vllm.preload",)}
ASKING_AT_ONCE = 64
ENDS_WITHIN_S = 15.0
VISIBLE_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class Suit:
    """What a job and an engine process must have in common: what the engine has loaded, and what it has to run on."""

    engine: str
    replicas: int
    gpus: str | None


@dataclass(slots=True)
class Forked:
    """An engine process, as its pool knows it."""

    pid: int
    control: Connection
    suit: Suit
    is_parked: bool = False


@dataclass(frozen=True, slots=True)
class PoolAddress:
    """Where engine processes are asked for on a machine, and by which key."""

    address: str
    key: bytes = field(repr=False)


class Prestarted:
    """The process of a job's only engine, which is there before an actor asks for it. Several threads may share one."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._is_there = Event()
        self._connection: Connection | None = None
        self._is_wanted = True

    def put(self, connection: Connection | None) -> None:
        """Say how it is reached; None: it could not be had."""
        with self._guard:
            self._connection = connection
            if not self._is_wanted:
                self._close()
        self._is_there.set()

    def take(self) -> Connection | None:
        """Return the connection to it, once, when it is there."""
        self._is_there.wait()
        with self._guard:
            connection, self._connection = self._connection, None
        return connection

    def dismiss(self) -> None:
        """Let it keep what it has answered. One that comes later is let go when it is there."""
        with self._guard:
            self._is_wanted = False
            self._close()

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class Pool:
    """Has an engine process for every actor that asks, as long as this process lives, when the libraries are imported.

    `address` is where actors ask.
    """

    def __init__(self) -> None:
        self._claim: Epoch | None = None
        self._has_job = True
        self._loaded = ""
        """What the engines of the current job have loaded; a pool of one job alone need not know."""
        self._key = secrets.token_bytes()
        self._listener = Listener(family="AF_UNIX", backlog=ASKING_AT_ONCE, authkey=self._key)
        self.address = PoolAddress(str(self._listener.address), self._key)
        self._guard = RLock()
        self._forked: list[Forked] = []
        self._prestarted: Prestarted | None = None
        Thread(target=self._attend, name="pool", daemon=True).start()

    def prestart(self, assignment: Assignment) -> Prestarted:
        """Have a process for the job's first actor at once, with the environment of this one."""
        prestarted = self._prestarted = Prestarted()

        def begin() -> None:
            connection = None
            try:
                with _reported():
                    connection = self._connect(os.environ, assignment)
            finally:
                prestarted.put(connection)

        Thread(target=begin, name="prestart", daemon=True).start()
        return prestarted

    def begin_job(self, claim: Epoch, config: EngineConfig, replicas: int) -> None:
        """Serve actors of this attempt only: those of an earlier one, which Ray starts again, may still ask.

        What is parked and does not suit a job of so many such engines is ended first, so that its memory is free. The
        libraries of these are imported, where they are not.
        """
        self._loaded = loaded(config)
        wanted = (self._loaded, replicas)
        self._end(one for one in self._look() if one.is_parked and (one.suit.engine, one.suit.replicas) != wanted)
        import_libraries(config)
        self._claim, self._has_job = claim, True

    def close(self) -> None:
        """End what is parked."""
        self._end(one for one in self._look() if one.is_parked)

    def end_job(self, within_s: float) -> None:
        """Serve nobody, and return when no process has a job any more. One that takes longer is killed."""
        self._prestarted, self._has_job = None, False
        give_up_at = time.monotonic() + within_s
        while (busy := [one for one in self._look() if not one.is_parked]) and time.monotonic() < give_up_at:
            wait([one.control for one in busy], timeout=give_up_at - time.monotonic())
        for one in busy:
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)

    def _attend(self) -> None:
        while True:
            with _reported(), self._listener.accept() as asking:
                environment, assignment = asking.recv()
                if not self._has_job or self._claim not in (None, assignment.claim):
                    continue
                prestarted = self._prestarted
                with (prestarted and prestarted.take()) or self._connect(environment, assignment) as connection:
                    send_handle(asking, connection.fileno(), os.getpid())  # for whom: of no meaning on POSIX

    def _connect(self, environment: Mapping[str, str], assignment: Assignment) -> Connection:
        """Return the connection to a process that has the assignment: one that is parked, else a new one."""
        suit = Suit(self._loaded, assignment.replicas, environment.get(VISIBLE_GPUS))
        ours, its = Pipe()
        with its, self._guard:
            if not self._hand_over(suit, assignment, its):
                self._forked.append(_fork(environment, assignment, its, suit))
        return ours

    def _hand_over(self, suit: Suit, assignment: Assignment, asked: Connection) -> bool:
        """Give the assignment to a parked process that suits; False where there is none."""
        for one in self._look():
            if one.is_parked and one.suit == suit:
                with suppress(OSError):  # it has ended meanwhile
                    one.is_parked = False
                    one.control.send(assignment)
                    send_handle(one.control, asked.fileno(), one.pid)
                    return True
        return False

    def _look(self) -> list[Forked]:
        """Return those that are there, after hearing which are parked."""
        with self._guard:
            for one in self._forked.copy():
                try:
                    while one.control.poll():
                        one.is_parked = one.control.recv() == process.PARKED
                except (EOFError, OSError):
                    self._forked.remove(one)
            return self._forked.copy()

    def _end(self, those: Iterable[Forked]) -> None:
        ending = list(those)
        with self._guard:
            for one in ending:
                one.control.close()
                self._forked.remove(one)
        fork_server.await_ends(ENDS_WITHIN_S, {one.pid for one in ending})


def import_libraries(config: EngineConfig) -> None:
    """Start the server that engine processes are forked from, and be back at once: it imports what they need."""
    libraries = LIBRARIES.get(config.engine, ())
    machine = sizing.this_machine(0, 1)
    environment = sizing.engine_environment(machine, 1, weights=config.weights) if libraries else {}
    fork_server.start((*libraries, MODULE), environment)


def ask(pool: PoolAddress, assignment: Assignment) -> Connection:
    """Return the connection to an engine process, which leaves the job when that is closed.

    A new one has the environment of this process. Raises OSError or EOFError where there is none to be had.
    """
    with Client(pool.address, authkey=pool.key) as asking:
        asking.send((dict(os.environ), assignment))
        return Connection(recv_handle(asking))


def loaded(config: EngineConfig) -> str:
    """Return what tells an engine from those that have loaded something else: other settings, or other files."""
    return "\n".join([config.digest, *(file for weights in config.weights for file in _files(Path(weights)))])


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        status = path.stat()
        yield f"{path} {status.st_size} {status.st_mtime_ns}"


def _fork(environment: Mapping[str, str], assignment: Assignment, asked: Connection, suit: Suit) -> Forked:
    ours, its = Pipe()
    with its:
        told = {"control": its, "assignment": assignment, "asked": asked}
        pid = fork_server.fork(target=process.main, name="engine", kwargs=told, environment=environment)
    return Forked(pid, ours, suit)


@contextmanager
def _reported() -> Iterator[None]:
    """What keeps a process from being forked is not the end of the others: its actor's connection ends."""
    try:
        yield
    except (OSError, EOFError, AuthenticationError):
        logger.exception("an engine actor has got no process")
