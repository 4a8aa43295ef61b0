"""Starts Ray on this machine for this process, again where it takes too long, and watches over it.

The places where it reaches into Ray's private parts: Ray gives a node 30 s to start and has no setting for it, and it
says to nobody that its raylet has died.
"""

import atexit
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread, get_native_id

import ray
from ray._private import services, worker
from ray._private.node import Node

from batch.errors import ResourcesUnavailable
from pipelines import seams

logger = logging.getLogger(__name__)

LIMITS_S = (60.0, 120.0, 240.0)
"""How long each try may take until the node is up."""
NICENESS = 5
"""Of the cluster's own processes, on a machine that is ours."""
WORKER_NICENESS = 15
"""Of the processes that it has work done by: Ray's default."""
OBJECT_STORE_BYTES = 128 << 20  # it carries shard numbers and receipts only
RAYLET, GCS = "raylet", "gcs_server"
_PORT_FILES = {
    "gcs_server_port": "the GCS server",
    "dashboard_agent_listen_port": "the dashboard agent",
    "runtime_env_agent_port": "the runtime environment agent",
}
"""What each part of a node writes into the session's folder when it is up."""


def probe_start() -> None:
    """Raise Unexpected unless Ray asks whether its node is up by the name that is replaced here."""
    seams.expect_use(Node.__init__, "get_node")


def probe_death() -> None:
    """Raise Unexpected unless Ray tells which processes it has started."""
    seams.expect(worker, "_global_node")
    seams.expect_use(Node.__init__, "all_processes")


def probe_path() -> None:
    """Raise Unexpected unless Ray asks a job's configuration before it puts the current folder first."""
    seams.expect_use(worker.connect, "_runtime_env_has_working_dir")


class JobConfig(ray.job_config.JobConfig):
    """As Ray's own, but the folder that the user stands in is nobody's package: no actor looks for modules there."""

    def _runtime_env_has_working_dir(self) -> bool:
        # True is the only thing that keeps Ray from putting it before all other places.
        return seams.RAY_SAFE_PATH.holds() or bool(super()._runtime_env_has_working_dir())


def plain_text() -> ray.LoggingConfig:
    """Engine actors log nothing below a warning unless told so."""
    return ray.LoggingConfig(encoding="TEXT", log_level="INFO")


def start(engines: int, *, on_death: Callable[[str], None], limits_s: Sequence[float] = LIMITS_S) -> None:
    """Start Ray for so many engines at most, and return when it is up; it ends with this process.

    `on_death` is called with a sentence, from another thread, when a part of Ray dies that it cannot do without.
    Raises ResourcesUnavailable after the last try, with what took so long.
    """
    is_over = Event()
    atexit.register(is_over.set)  # before Ray's own shutdown, which was registered when it was imported

    def tell(sentence: str) -> None:
        if not is_over.is_set():
            on_death(sentence)

    for number, limit_s in enumerate(limits_s, start=1):
        started = Future[None]()
        Thread(target=_hold, args=(engines, limit_s, started, tell), name="cluster", daemon=True).start()
        error = started.exception()
        if error is None:
            return
        logger.warning("Ray did not start, try %d of %d: %s", number, len(limits_s), error)
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    raise ResourcesUnavailable(
        f"Ray did not start on this machine in {len(limits_s)} tries: {error} (load {load:.0f} on {cores} cores); "
        "try again when the machine has less to do"
    )


def _hold(engines: int, limit_s: float, started: Future[None], on_death: Callable[[str], None]) -> None:
    """A cluster ends with the thread that starts it, by the kernel's PR_SET_PDEATHSIG, and has its niceness.

    So this one stays as long as the cluster shall, and a cluster that came up halfway goes with it.
    """
    os.nice(NICENESS)
    os.environ.setdefault("RAY_worker_niceness", str(WORKER_NICENESS - NICENESS))  # it comes on top
    try:
        with _patience(limit_s):
            ray.init(
                address="local",
                num_cpus=engines,  # logical: each takes one, and Ray starts as many processes before they are asked for
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=True,
                logging_config=plain_text(),
                job_config=JobConfig(),
            )
    except Exception as error:  # noqa: BLE001 - it is tried again, whatever it was
        with suppress(Exception):
            ray.shutdown()
        started.set_exception(error)
        return
    started.set_result(None)
    if not seams.RAY_DEATH.holds():
        Event().wait()  # for the end of this process
    on_death(_obituary(*_await_death()))  # and this thread ends, with what is left of the cluster


@contextmanager
def _patience(limit_s: float) -> Iterator[None]:
    """Let a node take so long to start, and no second longer when its raylet is dead."""
    if not seams.RAY_START.holds():
        yield
        return
    get_node = services.get_node
    give_up_at = time.monotonic() + limit_s

    def get_node_in_time(gcs_address: str, node_id: str) -> object:
        while True:
            try:
                return get_node(gcs_address, node_id)
            except RuntimeError:
                if not _has_raylet():
                    raise ResourcesUnavailable(f"its raylet died while {_missing_parts()}") from None
                if time.monotonic() >= give_up_at:
                    raise ResourcesUnavailable(f"after {limit_s:g} s {_missing_parts()}") from None
                time.sleep(0.1)

    services.get_node = get_node_in_time
    try:
        yield
    finally:
        services.get_node = get_node


def _has_raylet() -> bool:
    """Whether this thread has a child that is one, and alive."""
    for child in Path(f"/proc/self/task/{get_native_id()}/children").read_text(encoding="ascii").split():
        with suppress(OSError):
            name, _, rest = Path(f"/proc/{child}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")
            if name.endswith(f"({RAYLET}") and rest.split()[0] not in "ZX":
                return True
    return False


def _missing_parts() -> str:
    """Say which parts of the node have not come up, as its session's folder tells."""
    latest = Path(os.environ["RAY_TMPDIR"], "ray", "session_latest")
    missing = [part for file, part in _PORT_FILES.items() if not list(latest.glob(f"{file}_*"))]
    return f"{' and '.join(missing)} had not come up" if missing else "its raylet had not registered"


def _await_death() -> tuple[str, int | None]:
    """Wait until the raylet or the GCS server ends; its name and exit status."""
    processes = worker._global_node.all_processes
    watched = {name: processes[name][0].process for name in (RAYLET, GCS)}
    poll, names = select.poll(), {}
    for name, process in watched.items():
        descriptor = os.pidfd_open(process.pid)
        names[descriptor] = name
        poll.register(descriptor, select.POLLIN)
    dead = names[poll.poll()[0][0]]
    return dead, watched[dead].poll()


def _obituary(name: str, status: int | None) -> str:
    how = f" of {signal.Signals(-status).name}" if status is not None and status < 0 else f" with exit status {status}"
    why = ", as the kernel ends a process when memory runs out" if status == -signal.SIGKILL else ""
    return f"Ray's {name.replace('_', ' ')} died{how}{why}; without it no engine can be asked"
