"""The Ray cluster a job runs on: this machine, or the one at an address. Knows nothing of rows and shards."""

import atexit
import logging
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread

import ray

from batch.errors import ResourcesUnavailable
from batch.machine.resources import Machine, engine_needs, parse_replicas, runs_only_on_gpus
from batch.spec.job_spec import JobSpec
from pipelines.cluster import ray_start

logger = logging.getLogger(__name__)

START_WITHIN_S = 15.0
CLUSTER_WAIT_S = 600.0
POLL_S = 10.0
HEED_S = 1.0


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many engines run, from `fewest` to `most`, and what each takes."""

    fewest: int
    most: int
    gpus: int
    """GPUs of one engine; 0 on a machine without any."""
    world_size: int
    """Ranks of one engine: tensor parallel times pipeline parallel size."""


def connect(address: str | None, *, engines: int, on_death: Callable[[str], None]) -> Future[None]:
    """Begin to join the cluster at `address`, or to make one of this machine for so many `engines` at most.

    The result is there when that is; it may be ResourcesUnavailable: no cluster lets us in, or none starts. `on_death`
    hears of a cluster of this machine that dies, in a sentence.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # its usage reports are off unless turned on
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    connected = Future[None]()
    connected.set_running_or_notify_cancel()
    # Ray's shutdown comes after this one. In the midst of its start it would leave some of its processes behind.
    atexit.register(wait, [connected], START_WITHIN_S)

    def join() -> None:
        try:
            if address is None:
                ray_start.start(engines, on_death=on_death)
            else:
                _join_cluster(address)
            connected.set_result(None)
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            connected.set_exception(error)

    Thread(target=join, name="connecting", daemon=True).start()
    return connected


def choose_replicas(spec: JobSpec, replicas: str | None, machine: Machine, *, may_grow: bool = False) -> Replicas:
    """Decide how many engines the job gets of what a machine or a cluster has.

    One that `may_grow` may get its GPUs yet: an engine that runs on nothing else asks for them all the same.

    Without a wish, one engine per set of GPUs, and one where there is no GPU. Ray gives no engine more GPUs than there
    are; of cores nobody would keep account, so that what is wished of those is cut to what there is.
    """
    needs = engine_needs(spec)
    gpus = machine.gpus if needs.computes else 0
    takes_gpus = gpus > 0 or (may_grow and runs_only_on_gpus(spec))
    fewest, most = parse_replicas(replicas) if replicas else (max(1, gpus // needs.ranks),) * 2
    if needs.computes and not takes_gpus:
        most = max(fewest, min(most, machine.cores // needs.ranks))
    return Replicas(fewest, most, needs.ranks if takes_gpus else 0, needs.ranks)


def resources() -> Machine:
    """Return what the connected cluster has."""
    there = ray.cluster_resources()
    return Machine(int(there.get("CPU", 0)), int(there.get("GPU", 0)))


def await_connection(connected: Future[None], *, heed: Callable[[], object]) -> None:
    """Return when the cluster is there; what `heed` raises meanwhile ends the wait. Raises ResourcesUnavailable."""
    while not wait([connected], HEED_S).done:
        heed()
    connected.result()


def require(replicas: Replicas, *, is_local: bool, heed: Callable[[], object]) -> None:
    """Return when the cluster has what the fewest replicas need; a cluster at an address may still grow to it.

    What `heed` raises meanwhile ends the wait. Raises ResourcesUnavailable: what is needed, and what there is.
    """
    needed = {"CPU": float(replicas.fewest), "GPU": float(replicas.fewest * replicas.gpus)}
    give_up_at = time.monotonic() + (0 if is_local else CLUSTER_WAIT_S)
    while True:
        there = ray.cluster_resources()
        missing = {name for name, amount in needed.items() if there.get(name, 0) < amount}
        if not missing:
            return
        wanted, found = _amounts(needed), _amounts(there)
        text = f"{replicas.fewest} replica(s) of {replicas.world_size} rank(s) need {wanted}; the cluster has {found}"
        if time.monotonic() >= give_up_at:
            raise ResourcesUnavailable(f"{text}; ask for fewer with --replicas or a smaller tensor_parallel_size")
        logger.warning("waiting: %s", text)
        heed()
        time.sleep(POLL_S)


def _join_cluster(address: str) -> None:
    try:
        ray.init(
            address=address, log_to_driver=True, logging_config=ray_start.plain_text(), job_config=ray_start.JobConfig()
        )
    except ConnectionError as error:
        raise ResourcesUnavailable(
            f"no Ray cluster lets us in at {address}: {error}; check the address, and RAY_AUTH_MODE=token with its "
            "token where the cluster asks for one"
        ) from error


def _amounts(resources: Mapping[str, float]) -> str:
    return f"{resources.get('GPU', 0):g} GPU(s) and {resources.get('CPU', 0):g} CPU(s)"
