"""How a job's engines come up while its plan is made: everything that overlaps is started here, and awaited here.

On a machine of the job's own, one after the other begins and none waits for the one before: the engine's libraries are
imported by the process that engines are forked from; Ray starts; the plan is made; the job's only engine is forked, and
answers its first rows; Ray is up. A later job of the same worker finds the libraries, Ray, and maybe an engine there.
docs/decisions/0014, 0015, 0036.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from batch.jobs.store import JobStore
from batch.machine import resources
from batch.planning.plan import Plan
from batch.records.objects import Epoch
from pipelines.attempt.heartbeat import JobStopped
from pipelines.processes import job_log
from pipelines.site import ENGINES_END_WITHIN_S, Site

if TYPE_CHECKING:
    from pipelines.cluster.connect import Replicas
    from pipelines.cluster.graph import Engines
    from pipelines.engine_process.pool import Prestarted
    from pipelines.engine_process.service import Assignment


class Startup:
    """The start of one attempt's engines at a site: `begin`, `prestart` when there is a plan, `finish`.

    `replicas`: as the command line has it. `log`: the job's, where engine processes have to be told.
    """

    def __init__(
        self, job: JobStore, claim: Epoch, site: Site, *, replicas: str | None, log: str | None = None
    ) -> None:
        self._job, self._claim, self._spec = job, claim, job.spec()
        self._site, self._replicas, self._log = site, replicas, log
        self._expected: Replicas
        self._prestarted: Prestarted | None = None

    def begin(self) -> int:
        """Prepare the site; return how many engines there will be, at most."""
        self._expected = self._site.prepare(self._job, self._claim, self._replicas)
        return self._expected.most

    def prestart(self, plan: Plan, waiting: Sequence[int]) -> None:
        """Have the job's only engine, for the `waiting` shards of the plan; no other is started before Ray is up.

        Raises ResourcesUnavailable when the machine has less than the engines need.
        """
        if not waiting:
            return
        resources.check_fits(self._spec, self._replicas, self._site.machine)
        takes_every_gpu = self._expected.gpus == self._site.machine.gpus  # so Ray need not choose
        if self._site.pool is not None and takes_every_gpu and self._expected.most == 1:
            self._prestarted = self._site.pool.prestart(self._assign(plan, waiting, self._expected))

    def finish(self, plan: Plan, waiting: Sequence[int], heed: Callable[[], object]) -> "Engines":
        """Return when Ray is up and has what the fewest engines need; what `heed` raises meanwhile ends the wait."""
        from pipelines.cluster import connect, graph

        site = self._site
        try:
            assert site.connected is not None
            connect.await_connection(site.connected, heed=heed)
            job_log.begin_again()
            site.reaper.look()
            replicas = connect.choose_replicas(
                self._spec, self._replicas, connect.resources(), may_grow=not site.is_local
            )
            connect.require(replicas, is_local=site.is_local, heed=heed)
        except JobStopped:
            self._dismiss()
            raise
        graph.configure_ray_data(is_local=site.is_local)
        at_once = graph.shards_at_once(plan, waiting)
        address = site.pool.address if site.pool is not None else None
        return graph.Engines(replicas, self._assign(plan, waiting, replicas), at_once, address)

    def _assign(self, plan: Plan, waiting: Sequence[int], replicas: "Replicas") -> "Assignment":
        """One engine gets all shards, so its process need not wait until Ray Data hands out the first ones."""
        from pipelines.cluster import graph
        from pipelines.engine_process.service import Assignment

        return Assignment(
            self._job.uri,
            self._claim,
            self._spec.engine_config,
            replicas=replicas.most,
            group=self._site.group,
            world_size=replicas.world_size,
            rows=plan.rows,
            first=tuple(waiting[: graph.shards_at_once(plan, waiting)]) if replicas.most == 1 else (),
            keep_warm_s=self._site.keep_warm_s,
            log=self._log,
        )

    def _dismiss(self) -> None:
        """Have the prestarted engine keep its answers, which belong to the ledger."""
        if self._prestarted is not None:
            self._prestarted.dismiss()
            self._site.job_is_over(ENGINES_END_WITHIN_S)
