"""Where the jobs of one worker run: Ray, the server that engine processes are forked from, and the pool of these.

It is prepared for the first job, and the ones after it find it as it is. Knows nothing of rows and of leases.
"""

import atexit
import logging
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING

from batch.jobs.store import JobStore
from batch.machine import resources
from batch.records.objects import Epoch
from pipelines.cluster import own_cluster
from pipelines.processes import fork_server
from pipelines.processes.reaper import Reaper

if TYPE_CHECKING:
    from pipelines.cluster.connect import Replicas
    from pipelines.engine_process.pool import Pool

logger = logging.getLogger(__name__)

ENGINES_END_WITHIN_S = 5.0
JOB_ENDS_WITHIN_S = 30.0
"""How long the engine processes may take to be rid of a job: Ray ends its actors one after the other."""


class Site:
    """This machine, or the cluster at a Ray address.

    `keep_warm_s`: how long an engine of this machine waits for the next job of its configuration; 0: it ends with its
    job. `on_death` is set by who runs a job: it hears, in a sentence, of a Ray that dies.
    """

    def __init__(self, ray_address: str | None = None, *, keep_warm_s: float = 0.0) -> None:
        self.ray_address = ray_address
        self.is_local = ray_address is None
        self.machine = resources.this_machine() if self.is_local else resources.ELSEWHERE
        self.keep_warm_s = keep_warm_s if self.is_local else 0.0
        self.on_death: Callable[[str], None] = logger.error
        self.group = ""
        """What the engines of this site have in common, by which they part a machine."""
        self.reaper: Reaper
        self.pool: Pool | None = None
        self.connected: Future[None] | None = None

    def prepare(self, job: JobStore, claim: Epoch, replicas: str | None) -> "Replicas":
        """Begin with the engine's libraries and with Ray, where they are not there; return how many engines to expect.

        `claim`: the attempt's. `replicas`: as the command line has it.
        """
        config = job.spec().engine_config
        if not self.group:
            self._settle(job, claim)
        from pipelines.cluster import connect  # which imports Ray

        expected = connect.choose_replicas(job.spec(), replicas, self.machine)
        if self.connected is None or (self.connected.done() and self.connected.exception()):
            # A later job may want more engines than the first; Ray starts a process for each that may come.
            engines = max(expected.most, self.machine.gpus) if self.keep_warm_s else expected.most
            self.connected = connect.connect(self.ray_address, engines=engines, on_death=self._tell_death)
        if self.pool is not None:
            self.pool.begin_job(claim, config, expected.most)
        return expected

    def job_is_over(self, within_s: float = JOB_ENDS_WITHIN_S) -> None:
        """Return when no engine process has a job, so that the next one finds them parked."""
        if self.pool is not None:
            self.pool.end_job(within_s)

    def close(self) -> None:
        """End the engines that wait for a job."""
        if self.pool is not None:
            self.pool.close()

    def _settle(self, job: JobStore, claim: Epoch) -> None:
        self.group = f"{job.spec().job_id}-{claim.number}"
        if not self.is_local:
            self.reaper = Reaper()
            return
        self.reaper = own_cluster.settle(job.uri)  # before Ray is imported, which looks at what is settled
        # After Ray's shutdown, which is registered later and ends the actors: whoever sees this process gone, as the
        # next attempt, finds what its engine processes have kept.
        atexit.register(fork_server.await_ends, ENGINES_END_WITHIN_S)
        from pipelines.engine_process import pool

        pool.import_libraries(job.spec().engine_config)  # while Ray is imported, and starts
        self.reaper.look()
        self.pool = pool.Pool()

    def _tell_death(self, sentence: str) -> None:
        self.on_death(sentence)
