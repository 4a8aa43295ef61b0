"""Ray Data on a machine of our own, without the three processes that it has look after a cluster.

One knows which machine an actor runs on, one asks for more machines, one gathers what a dashboard shows. Here every
actor runs on this machine, there are no others to be had, and no dashboard. Ray Data has no setting to leave them out,
and on two cores they take a twentieth of a short job from its engine. docs/decisions/0016.
"""

from collections.abc import Sequence

import ray
from ray.data._internal import stats
from ray.data._internal.cluster_autoscaler.base_cluster_autoscaler import ClusterAutoscaler
from ray.data._internal.execution import streaming_executor
from ray.data._internal.execution.interfaces import ExecutionResources
from ray.data._internal.execution.operators import actor_pool_map_operator

from pipelines import seams


class ThisMachine(ClusterAutoscaler):
    """What an execution may use: all that there is, now and later."""

    def __init__(self, *_: object, **__: object) -> None:
        """What it is told of the execution makes no odds."""
        self._all = ExecutionResources.from_resource_dict(ray.cluster_resources())

    def try_trigger_scaling(self) -> None:
        """There is nothing to scale."""

    def on_executor_shutdown(self) -> None:
        """Nothing was asked for."""

    def get_total_resources(self) -> ExecutionResources:
        return self._all


class SilentActor:
    """Stands for an actor that was left out: it takes every call and answers none."""

    def __getattr__(self, name: str) -> "SilentMethod":
        if name.startswith("__"):
            raise AttributeError(name)
        return SilentMethod()


class SilentMethod:
    """A method of a SilentActor."""

    def remote(self, *_: object, **__: object) -> None:
        """Do nothing."""


def probe() -> None:
    """Raise Unexpected unless Ray Data starts these actors by the names that are replaced here."""
    seams.expect_use(stats._StatsManager.update_execution_metrics, "get_or_create_stats_actor")
    seams.expect_use(streaming_executor.StreamingExecutor.execute, "create_cluster_autoscaler")
    operator, pool = actor_pool_map_operator.ActorPoolMapOperator, actor_pool_map_operator._NodeAwareActorPool
    seams.expect_use(operator._start_actor, "get_or_create_actor_location_tracker")
    seams.expect_use(pool.refresh_actor_state, "get_actor_locations")


def leave_out_cluster_actors() -> None:
    """Keep the Ray Data of this process from starting them. For a cluster of this machine alone."""
    if not seams.RAY_ONE_MACHINE.holds():
        return
    stats.get_or_create_stats_actor = SilentActor
    streaming_executor.create_cluster_autoscaler = ThisMachine
    actor_pool_map_operator.get_or_create_actor_location_tracker = SilentActor
    actor_pool_map_operator.get_actor_locations = _all_here


def _all_here(actors: Sequence[str]) -> dict[str, str]:
    return dict.fromkeys(actors, ray.get_runtime_context().get_node_id())
