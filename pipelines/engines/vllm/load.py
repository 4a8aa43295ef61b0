"""How much a vLLM engine has to do: told by its scheduler now and then, kept in the process in front of it.

vLLM's own statistics cost time in every step and for every row; they are off. This is sent with every so many outputs.
"""

from time import monotonic
from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.metrics.stats import PrefixCacheStats, SchedulerStats
from vllm.v1.outputs import ModelRunnerOutput

from batch.records.objects import EngineLoad
from pipelines import seams
from pipelines.engines.vllm.grammars import Grammars


class TellingScheduler(Scheduler):
    """vLLM's scheduler, which tells its load every `tell_every_s` when nobody asked for statistics.

    It watches over grammars, too.
    """

    tell_every_s = 1.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._told_at_s = monotonic()
        self._preemptions = 0
        if seams.GRAMMARS.holds():
            Grammars(self.structured_output_manager)

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """What this step has for each front end; counts the sequences that had to give way for it."""
        self._preemptions += len(scheduler_output.preempted_req_ids or ())
        step: dict[int, EngineCoreOutputs] = super().update_from_output(scheduler_output, model_runner_output)
        return step

    def make_stats(self, *args: Any, **kwargs: Any) -> SchedulerStats | None:
        """Return vLLM's statistics where it makes them, else the load when it is time."""
        stats: SchedulerStats | None = super().make_stats(*args, **kwargs)
        now_s = monotonic()
        if stats is not None or now_s - self._told_at_s < self.tell_every_s:
            return stats
        self._told_at_s = now_s
        running, waiting = self.get_request_counts()
        return SchedulerStats(
            num_running_reqs=running,
            num_waiting_reqs=waiting,
            kv_cache_usage=self.kv_cache_manager.usage,
            # The one field that counts preempted sequences.
            prefix_cache_stats=PrefixCacheStats(preempted_requests=self._preemptions),
        )


class LoadKeeper:
    """Stands where AsyncLLM has its loggers of statistics, and keeps what came last."""

    def __init__(self) -> None:
        self.latest: EngineLoad | None = None
        self._preemptions = 0
        self._preemptions_before = 0

    def count_anew(self) -> None:
        """Another job begins: it has nothing to do yet, and no sequence of it had to give way."""
        self.latest = None
        self._preemptions_before = self._preemptions

    def record(self, *, scheduler_stats: SchedulerStats | None, **_: object) -> None:
        """Take in what came with some outputs."""
        if scheduler_stats is not None:
            self._preemptions = scheduler_stats.prefix_cache_stats.preempted_requests
            self.latest = EngineLoad(
                scheduler_stats.num_running_reqs,
                scheduler_stats.num_waiting_reqs,
                scheduler_stats.kv_cache_usage,
                self._preemptions - self._preemptions_before,
            )

    def log(self, *_: object) -> None:
        """Take no notice: whatever else vLLM tells its loggers is of no interest."""

    record_sleep_state = record_admission_rejection = log
