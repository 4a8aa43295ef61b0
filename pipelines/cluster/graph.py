"""The Ray Data graph: numbers of shards → engine actors → receipts.

The actors commit their shards; a receipt is for counting only. Knows nothing of leases and of how a cluster starts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import ray.data
from ray.data import ActorPoolStrategy, DataContext, Dataset

from batch.planning.plan import Plan
from pipelines.cluster import one_machine
from pipelines.cluster.actor import EngineActor
from pipelines.cluster.connect import Replicas
from pipelines.cluster.ray_errors import job_failures
from pipelines.cluster.source import PlannedShards
from pipelines.engine_process.pool import PoolAddress
from pipelines.engine_process.service import Assignment, Receipt
from pipelines.shards.runner import TARGET_OPEN_ROWS

MAX_ENGINE_RESTARTS = 20


@dataclass(frozen=True, slots=True)
class Engines:
    """What a job is run on. `at_once`: shards that one engine opens.

    `pool`: where actors of this machine ask for their engine processes; None where they run on machines of a cluster.
    """

    replicas: Replicas
    assignment: Assignment
    at_once: int
    pool: PoolAddress | None


def run_shards(waiting: Sequence[int], engines: Engines) -> Iterator[Receipt]:
    """Run the `waiting` shards, by number; yield one receipt per shard, in the order they end.

    A prestarted engine may have committed some of them by now: it gives their receipts like any other.
    """
    if not waiting:
        return
    replicas = engines.replicas
    receipts = _numbers(waiting, replicas).map_batches(
        EngineActor,
        fn_constructor_args=(engines.assignment, engines.pool),
        batch_size=1,  # a block is one row, a shard: none is split or joined. Ray takes no None beside GPUs.
        batch_format="pyarrow",
        zero_copy_batch=True,
        num_cpus=1,
        num_gpus=replicas.gpus or None,
        compute=_pool(replicas, engines.at_once),
        max_restarts=MAX_ENGINE_RESTARTS,
    )
    # prefetch_batches=0, because a prefetching iterator holds each receipt until the next one is there.
    with job_failures():
        for block in receipts.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for row in block.to_pylist():
                yield Receipt(**row)


def configure_ray_data(*, is_local: bool) -> None:
    """One block per shard and per receipt, each handed on at once; no progress bars, no polling threads.

    An actor's exception comes back as it was raised: Ray Data's own wrapping would leave out the reason.
    `is_local`: the cluster is this machine, for this job.
    """
    if is_local:
        one_machine.leave_out_cluster_actors()
    context = DataContext.get_current()
    context.target_max_block_size = 1
    context.raise_original_map_exception = True
    context.execution_options.preserve_order = False
    context.enable_progress_bars = False
    context.memory_usage_poll_interval_s = None


def shards_at_once(plan: Plan, waiting: Sequence[int]) -> int:
    """Return how many of the `waiting` shards (numbers) one engine opens at once: enough to keep its line full."""
    rows = sum(plan.shards[index].rows for index in waiting) or 1
    return max(4, min(32, TARGET_OPEN_ROWS * len(waiting) // rows + 1))


def _numbers(shards: Sequence[int], replicas: Replicas) -> Dataset:
    """Return a dataset of one block for each shard. The only engine of a job can have all of them at once.

    Several get them from a read task, some ten a second at first: the first engine that is up would take those of all.
    """
    if replicas.most == 1:
        return ray.data.from_blocks([pa.table({"shard": [index]}) for index in shards])
    return ray.data.read_datasource(PlannedShards(shards), num_cpus=0, override_num_blocks=1)


def _pool(replicas: Replicas, at_once: int) -> ActorPoolStrategy:
    return ActorPoolStrategy(
        min_size=replicas.fewest,
        max_size=replicas.most,
        initial_size=replicas.fewest,
        max_concurrent_calls_per_actor=at_once,
        max_tasks_in_flight_per_actor=2 * at_once,  # a queue behind the calls: no gap when a shard ends
    )
