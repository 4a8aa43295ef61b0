"""How an actor comes to its host: it asks whoever forks hosts on its machine, for a job's own cluster the worker.

So vLLM is imported once on a machine, while Ray starts, however many engines there are and however often they die.
docs/decisions/0014.
"""

import logging
import os
import secrets
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from threading import Thread

from batch.spec import JobSpec
from pipelines import engine_host, fork_server, sizing
from pipelines.engine_host import Assignment

logger = logging.getLogger(__name__)

HOST = "pipelines.engine_host"
LIBRARIES = {"vllm": ("pipelines.engines.preloaded",)}
ASKING_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Hosting:
    """Where hosts are asked for on a machine, and by which key."""

    address: str
    key: bytes = field(repr=False)


def serve(spec: JobSpec) -> Hosting:
    """Fork a host for every actor that asks, as long as this process lives; return at once."""
    libraries = LIBRARIES.get(spec.engine, ())
    environment = sizing.engine_environment(sizing.this_machine(0, 1), 1, model=spec.model) if libraries else {}
    fork_server.start((*libraries, HOST), environment)
    key = secrets.token_bytes()
    listener = Listener(family="AF_UNIX", backlog=ASKING_AT_ONCE, authkey=key)
    Thread(target=_fork_hosts, args=(listener,), name="hosting", daemon=True).start()
    return Hosting(str(listener.address), key)


def ask(hosting: Hosting, assignment: Assignment) -> Connection:
    """Return the connection to a new host, which has the environment of this process and ends when that is closed."""
    connection = Client(hosting.address, authkey=hosting.key)
    connection.send((dict(os.environ), assignment))
    return connection


def _fork_hosts(listener: Listener) -> None:
    while True:
        try:
            with listener.accept() as connection:
                environment, assignment = connection.recv()
                told = {"connection": connection, "assignment": assignment}
                fork_server.fork(target=engine_host.main, name="host", kwargs=told, environment=environment)
        except (OSError, EOFError, AuthenticationError):
            logger.exception("an engine actor has got no host")  # it sees its connection's end, and Ray starts another
