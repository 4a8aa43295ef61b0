"""How a job's engines come up while its plan is made: everything that overlaps is started here, and awaited here.

On a machine of the job's own, one after the other begins and none waits for the one before: the engine's libraries are
imported by the process that engines are forked from; Ray starts; the plan is made; the job's only engine is forked, and
answers its first rows; Ray is up. docs/decisions/0014, 0015.
"""

import atexit
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

from batch.jobs.store import JobStore
from batch.machine import resources
from batch.planning.plan import Plan
from batch.records.objects import Epoch
from pipelines.attempt.heartbeat import JobStopped
from pipelines.cluster import own_cluster
from pipelines.processes import fork_server, job_log
from pipelines.processes.reaper import Reaper

if TYPE_CHECKING:
    from pipelines.cluster.connect import Replicas
    from pipelines.engine_process.pool import PoolAddress, Prestarted

HOSTS_END_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Engines:
    """What is there when all is up. `hosts`: where actors of this machine ask for theirs; None at a Ray address."""

    replicas: "Replicas"
    hosts: "PoolAddress | None"


class Startup:
    """The start of one attempt's engines: `begin`, `prestart` when there is a plan, `finish`.

    `replicas`, `ray_address`: as the command line has them. `on_death` hears, in a sentence, of a Ray that dies.
    """

    def __init__(
        self,
        job: JobStore,
        claim: Epoch,
        *,
        replicas: str | None,
        ray_address: str | None,
        on_death: Callable[[str], None],
    ) -> None:
        self._job, self._claim, self._spec = job, claim, job.spec()
        self._replicas, self._ray_address, self._on_death = replicas, ray_address, on_death
        self._is_local = ray_address is None
        self._machine = resources.this_machine() if self._is_local else resources.ELSEWHERE
        self._reaper: Reaper
        self._expected: Replicas
        self._connected: Future[None]
        self._prestarted: Prestarted | None = None
        self._hosts: PoolAddress | None = None

    def begin(self) -> int:
        """Begin with the engine's libraries and with Ray; return how many engines there will be, at most."""
        from pipelines.engine_process import pool

        # Before Ray is imported, which looks at what is settled.
        self._reaper = own_cluster.settle(self._job.uri) if self._is_local else Reaper()
        if self._is_local:
            # After Ray's shutdown, which is registered later and ends the actors: whoever sees this process gone, as
            # the next attempt, finds what its hosts have kept.
            atexit.register(fork_server.await_ends, HOSTS_END_WITHIN_S)
            pool.import_libraries(self._spec)
        self._reaper.look()
        from pipelines.cluster import connect

        self._expected = connect.choose_replicas(self._spec, self._replicas, self._machine)
        self._connected = connect.connect(self._ray_address, engines=self._expected.most, on_death=self._on_death)
        return self._expected.most

    def prestart(self, plan: Plan, waiting: Sequence[int]) -> None:
        """Fork the job's only engine, for the `waiting` shards of the plan; no other is started before Ray is up.

        Raises ResourcesUnavailable when the machine has less than the engines need.
        """
        from pipelines.cluster import graph
        from pipelines.engine_process import pool

        if waiting:
            resources.check_fits(self._spec, self._replicas, self._machine)
        if not self._is_local:
            return
        takes_every_gpu = self._expected.gpus == self._machine.gpus  # so Ray need not choose
        if takes_every_gpu:
            first = graph.assign_prestarted(self._job, plan, waiting, claim=self._claim, replicas=self._expected)
            self._prestarted = pool.Prestarted(first) if first else None
        self._hosts = pool.serve(self._prestarted)

    def finish(self, heed: Callable[[], object]) -> Engines:
        """Return when Ray is up and has what the fewest engines need; what `heed` raises meanwhile ends the wait."""
        from pipelines.cluster import connect, graph

        try:
            connect.await_connection(self._connected, heed=heed)
            job_log.begin_again()
            self._reaper.look()
            replicas = connect.choose_replicas(
                self._spec, self._replicas, connect.resources(), may_grow=not self._is_local
            )
            connect.require(replicas, is_local=self._is_local, heed=heed)
        except JobStopped:
            self._dismiss()
            raise
        graph.configure_ray_data(is_local=self._is_local)
        return Engines(replicas, self._hosts)

    def _dismiss(self) -> None:
        """Have the prestarted engine keep its answers, which belong to the ledger."""
        if self._prestarted is not None:
            self._prestarted.dismiss()
            fork_server.await_ends(HOSTS_END_WITHIN_S)
