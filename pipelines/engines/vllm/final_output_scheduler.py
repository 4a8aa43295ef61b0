"""vLLM's schedulers, but that a row's tokens leave EngineCore together, when the last is there.

vLLM sends each step's tokens to the process in front of it, which has to look at every row in every step. An
unfinished row is not read here. Not for rows that are looked at while they grow: those with stop strings, which that
process finds, and those with log-probabilities.
"""

from dataclasses import dataclass
from typing import Any

from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler as VllmScheduler
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.metrics.stats import PrefillStats
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request

from pipelines import seams
from pipelines.engines.vllm.load import TellingScheduler


@dataclass(frozen=True, slots=True)
class Kept:
    """What was computed of an unfinished row."""

    token_ids: list[int]
    prefill_stats: PrefillStats | None


class FinalOnly(TellingScheduler):
    """Keeps what the steps computed of a row until the row is finished."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: dict[str, Kept] = {}  # by request id

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """Return what this step has for each front end: vLLM's outputs, without those of unfinished rows."""
        step = super().update_from_output(scheduler_output, model_runner_output)
        for sent in step.values():
            sent.outputs = [output for output in sent.outputs if self._leaves(output)]
        return {front: sent for front, sent in step.items() if sent != EngineCoreOutputs(timestamp=sent.timestamp)}

    def finish_requests(self, *args: Any, **kwargs: Any) -> list[Request]:
        """End requests from outside, as those that were aborted: nothing is kept of them."""
        ended: list[Request] = super().finish_requests(*args, **kwargs)
        for request in ended:
            self._kept.pop(request.request_id, None)
        return ended

    def _leaves(self, output: EngineCoreOutput) -> bool:
        """Whether `output` is to be sent, completed with what was kept of its row; else it is kept."""
        name = output.request_id
        if output.finished:
            if name in self._kept:
                kept = self._kept.pop(name)
                output.new_token_ids = kept.token_ids + output.new_token_ids
                output.prefill_stats = kept.prefill_stats
            return True
        if name not in self._kept:
            if not can_wait(self.requests[name].sampling_params, output):
                return True
            self._kept[name] = Kept([], output.prefill_stats)
        self._kept[name].token_ids.extend(output.new_token_ids)
        return False


class FinalOnlyScheduler(FinalOnly):
    """Of engines that schedule a step when the one before it is done."""


class FinalOnlyAsyncScheduler(FinalOnly, AsyncScheduler):
    """Of engines that schedule a step while the one before it is computed."""


def probe() -> None:
    """Raise Unexpected unless vLLM's schedulers have what is used here and in `load`."""
    seams.expect(AsyncScheduler, "update_from_output", "finish_requests", "get_request_counts")
    seams.expect_use(VllmScheduler.make_stats, "log_stats")
    used = ("finished", "request_id", "new_token_ids", "prefill_stats", "routed_experts", "new_sampling_mask")
    seams.expect(EngineCoreOutput, *used)
    watched = ("stop", "logprobs", "prompt_logprobs", "logprob_token_ids", "prompt_logprob_token_ids")
    seams.expect(SamplingParams, "output_kind", *watched)
    seams.expect_use(AsyncLLM.__init__, "logger_manager")
    seams.expect_use(VllmScheduler.__init__, "requests", "structured_output_manager", "kv_cache_manager")


def can_wait(sampling: SamplingParams | None, first: EngineCoreOutput) -> bool:
    """Whether nobody looks at a row of these parameters and this first output before it is finished."""
    return (
        sampling is not None
        and sampling.output_kind is RequestOutputKind.FINAL_ONLY
        and not sampling.stop
        and sampling.logprobs is None
        and sampling.prompt_logprobs is None
        and sampling.logprob_token_ids is None
        and sampling.prompt_logprob_token_ids is None
        and first.routed_experts is None
        and first.new_sampling_mask is None
    )
