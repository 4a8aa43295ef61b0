"""vLLM's schedulers, but that a row's tokens leave EngineCore together, when the last is there.

vLLM sends each step's tokens to the process in front of it, which has to look at every row in every step. Nobody
reads an unfinished row here. Not for rows that are looked at while they grow: those with stop strings, which that
process finds, and those with log-probabilities.
"""

from dataclasses import dataclass
from typing import Any

from vllm.sampling_params import RequestOutputKind, SamplingParams
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutput, EngineCoreOutputs
from vllm.v1.metrics.stats import PrefillStats
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request


@dataclass(frozen=True, slots=True)
class Kept:
    """What was computed of an unfinished row."""

    token_ids: list[int]
    prefill_stats: PrefillStats | None


class FinalOnly(Scheduler):
    """Keeps what the steps computed of a row until the row is finished."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: dict[str, Kept] = {}  # by request id

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """Return what this step has for each front end: vLLM's outputs, without those of unfinished rows."""
        waited_for = {name for name in scheduler_output.num_scheduled_tokens if self._is_waited_for(name)}
        step = super().update_from_output(scheduler_output, model_runner_output)
        for sent in step.values():
            sent.outputs = [output for output in sent.outputs if self._leaves(output, waited_for)]
        return {front: sent for front, sent in step.items() if sent != EngineCoreOutputs(timestamp=sent.timestamp)}

    def finish_requests(self, *args: Any, **kwargs: Any) -> list[Request]:
        """End requests from outside, as those that were aborted: nothing is kept of them."""
        ended: list[Request] = super().finish_requests(*args, **kwargs)
        for request in ended:
            self._kept.pop(request.request_id, None)
        return ended

    def _is_waited_for(self, name: str) -> bool:
        request = self.requests.get(name)
        return request is not None and can_wait(request.sampling_params)

    def _leaves(self, output: EngineCoreOutput, waited_for: set[str]) -> bool:
        """Whether `output` is to be sent, completed with what was kept of its row; else it is kept."""
        if output.request_id not in waited_for or output.routed_experts is not None or output.new_sampling_mask:
            return True
        if not output.finished:
            kept = self._kept.setdefault(output.request_id, Kept([], output.prefill_stats))
            kept.token_ids.extend(output.new_token_ids)
            return False
        if output.request_id in self._kept:
            kept = self._kept.pop(output.request_id)
            output.new_token_ids = kept.token_ids + output.new_token_ids
            output.prefill_stats = kept.prefill_stats
        return True


class FinalOnlyScheduler(FinalOnly):
    """Of engines that schedule a step when the one before it is done."""


class FinalOnlyAsyncScheduler(FinalOnly, AsyncScheduler):
    """Of engines that schedule a step while the one before it is computed."""


def can_wait(sampling: SamplingParams | None) -> bool:
    """Whether nobody looks at a row of these parameters before it is finished."""
    return (
        sampling is not None
        and sampling.output_kind is RequestOutputKind.FINAL_ONLY
        and not sampling.stop
        and sampling.logprobs is None
        and sampling.prompt_logprobs is None
        and sampling.logprob_token_ids is None
        and sampling.prompt_logprob_token_ids is None
    )
