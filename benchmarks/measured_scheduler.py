"""vLLM's schedulers and ours, which also count their steps: given to an engine by name, as its `scheduler_cls`.

Some only note when their first request came, for callers that cannot know. They decide nothing: each calls what it
counts. In the time of a step is what vLLM does between the end of `schedule`
and the beginning of `update_from_output`, which is the model, but for microseconds.
"""

import os
import time
from pathlib import Path
from typing import Any

import orjson
from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler
from vllm.v1.engine import EngineCoreOutputs
from vllm.v1.outputs import ModelRunnerOutput
from vllm.v1.request import Request

from benchmarks.steps import FIRST_REQUEST, STEPS_FOLDER, Meter, Planned
from pipelines.engines.vllm.final_output_scheduler import FinalOnlyAsyncScheduler, FinalOnlyScheduler

WRITE_EVERY_S = 1.0


class Noting(Scheduler):
    """Writes the Unix time of its first request to the file that the environment names, if it names one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._first_request = os.environ.get(FIRST_REQUEST)

    def add_request(self, request: Request) -> None:
        """Let a request into vLLM's line."""
        if self._first_request is not None:
            Path(self._first_request).write_text(str(time.time()))
            self._first_request = None
        super().add_request(request)


class Measured(Noting):
    """Counts steps, and writes what it has counted every second and whenever the engine has no row left.

    So often, because many an engine process is killed at its end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._meter = Meter(self.max_num_running_reqs)
        self._file = Path(os.environ[STEPS_FOLDER]) / f"{os.getpid()}.json"
        self._written_at_s = time.monotonic()

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        """Return vLLM's next step; counted, unless it only tells the model which rows have ended."""
        scheduled = super().schedule(*args, **kwargs)
        self._meter.steps.preemptions += len(scheduled.preempted_req_ids or ())
        if scheduled.total_num_scheduled_tokens:
            planned = self._planned(scheduled)
            self._meter.begin(planned, time.monotonic())
        return scheduled

    def update_from_output(
        self, scheduler_output: SchedulerOutput, model_runner_output: ModelRunnerOutput
    ) -> dict[int, EngineCoreOutputs]:
        """Return what vLLM makes of a computed step."""
        now_s = time.monotonic()
        if scheduler_output.total_num_scheduled_tokens:
            self._meter.end(now_s)
        step: dict[int, EngineCoreOutputs] = super().update_from_output(scheduler_output, model_runner_output)
        for sent in step.values():
            self._meter.steps.count_prompts(sent.outputs)
        if now_s - self._written_at_s >= WRITE_EVERY_S or not self.has_unfinished_requests():
            self._write(now_s)
        return step

    def shutdown(self) -> None:
        """Write for the last time."""
        self._write(time.monotonic())
        super().shutdown()

    def _planned(self, scheduled: SchedulerOutput) -> Planned:
        prefill_tokens = 0
        for name, tokens in scheduled.num_scheduled_tokens.items():
            row = self.requests[name]
            # vLLM has already added the step's tokens to those computed. Behind the prompt, a row that is not computed
            # again after a preemption goes on by one token.
            if tokens > 1 or row.num_computed_tokens <= row.num_prompt_tokens:
                prefill_tokens += tokens
        return Planned(
            rows=len(self.running),
            prefill_tokens=prefill_tokens,
            lets_in=any(not self.requests[new.req_id].num_preemptions for new in scheduled.scheduled_new_reqs),
        )

    def _write(self, now_s: float) -> None:
        self._written_at_s = now_s
        if self._meter.steps.steps:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            unfinished = self._file.with_suffix(".tmp")
            unfinished.write_bytes(orjson.dumps(self._meter.steps))
            unfinished.replace(self._file)  # the process may be killed at any moment


class NotingScheduler(Noting):
    """vLLM's, of engines that schedule a step when the one before it is done."""


class NotingAsyncScheduler(Noting, AsyncScheduler):
    """vLLM's, of engines that schedule a step while the one before it is computed."""


class MeasuredScheduler(Measured):
    """vLLM's, of engines that schedule a step when the one before it is done."""


class MeasuredAsyncScheduler(Measured, AsyncScheduler):
    """vLLM's, of engines that schedule a step while the one before it is computed."""


class MeasuredFinalOnlyScheduler(Measured, FinalOnlyScheduler):
    """Ours, of engines that schedule a step when the one before it is done."""


class MeasuredFinalOnlyAsyncScheduler(Measured, FinalOnlyAsyncScheduler):
    """Ours, of engines that schedule a step while the one before it is computed."""
