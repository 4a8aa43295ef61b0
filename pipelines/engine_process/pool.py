"""How an actor comes to its host: it asks whoever forks hosts on its machine, for a job's own cluster the worker.

So vLLM is imported once on a machine, while Ray starts, however many engines there are and however often they die. And
the host of a job's only engine need not wait for Ray: it is forked before its actor is there to ask for one.
docs/decisions/0014, 0015.
"""

import logging
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client, Connection, Listener
from multiprocessing.reduction import recv_handle, send_handle
from threading import Lock, Thread

from batch.spec.job_spec import JobSpec
from pipelines.engine_process import process
from pipelines.engine_process.process import Assignment
from pipelines.processes import fork_server, sizing

logger = logging.getLogger(__name__)

HOST = "pipelines.engine_process.process"
LIBRARIES = {"vllm": ("pipelines.engines.vllm.preload",)}
ASKING_AT_ONCE = 64


class Prestarted:
    """The host of a job's only engine, forked before there is an actor to ask for it. Several threads may share one.

    Its environment is that of this process. `assignment`: what its actor will be assigned.
    """

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._guard = Lock()
        self._host: Connection | None = None
        self._is_wanted = True

    def fork(self) -> None:
        """Have it forked. Raises OSError or EOFError."""
        host = _fork(dict(os.environ), self._assignment)
        with self._guard:
            if self._is_wanted:
                self._host = host
            else:
                host.close()

    def take(self) -> Connection | None:
        """Return the connection to it, once."""
        with self._guard:
            host, self._host = self._host, None
        return host

    def dismiss(self) -> None:
        """Let it keep what it has answered, and end. One that is forked later ends when it has begun."""
        with self._guard:
            self._is_wanted = False
        host = self.take()
        if host is not None:
            host.close()


@dataclass(frozen=True, slots=True)
class PoolAddress:
    """Where hosts are asked for on a machine, and by which key."""

    address: str
    key: bytes = field(repr=False)


def import_libraries(spec: JobSpec) -> None:
    """Start the server that hosts are forked from, and be back at once: it imports what the job's engine needs."""
    libraries = LIBRARIES.get(spec.engine, ())
    weights = (spec.model, *spec.lora.values())
    environment = sizing.engine_environment(sizing.this_machine(0, 1), 1, weights=weights) if libraries else {}
    fork_server.start((*libraries, HOST), environment)


def serve(prestarted: Prestarted | None = None) -> PoolAddress:
    """Fork a host for every actor that asks, as long as this process lives, when the libraries are imported.

    `prestarted`: the first actor's, forked as soon as it can be, not when that actor asks.
    """
    key = secrets.token_bytes()
    listener = Listener(family="AF_UNIX", backlog=ASKING_AT_ONCE, authkey=key)
    Thread(target=_fork_hosts, args=(listener, prestarted), name="pool", daemon=True).start()
    return PoolAddress(str(listener.address), key)


def ask(pool: PoolAddress, assignment: Assignment) -> Connection:
    """Return the connection to a host, which ends when that is closed. A new one has the environment of this process.

    Raises OSError or EOFError where there is none to be had.
    """
    with Client(pool.address, authkey=pool.key) as asking:
        asking.send((dict(os.environ), assignment))
        return Connection(recv_handle(asking))


def _fork_hosts(listener: Listener, prestarted: Prestarted | None) -> None:
    if prestarted:
        with _reported():
            prestarted.fork()
    while True:
        with _reported(), listener.accept() as asking:
            environment, assignment = asking.recv()
            with (prestarted and prestarted.take()) or _fork(environment, assignment) as host:
                send_handle(asking, host.fileno(), os.getpid())  # for whom: of no meaning on POSIX


def _fork(environment: Mapping[str, str], assignment: Assignment) -> Connection:
    """Return the connection to a new host."""
    ours, its = Pipe()
    with its:
        told = {"connection": its, "assignment": assignment}
        fork_server.fork(target=process.main, name="host", kwargs=told, environment=environment)
    return ours


@contextmanager
def _reported() -> Iterator[None]:
    """What keeps a host from being forked is not the end of the others: its actor is told by its connection's end."""
    try:
        yield
    except (OSError, EOFError, AuthenticationError):
        logger.exception("an engine actor has got no host")
