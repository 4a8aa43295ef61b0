"""What the steps of an engine did: counted in the engine's process, read and shown where the engine was started.

Imports no vLLM, and takes the time from its caller.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.tables import table

STEPS_FOLDER = "BATCHCTL_BENCH_STEPS"
"""The environment variable that names the folder in which each engine writes its Steps, in a file of its own."""

FIRST_REQUEST = "BATCHCTL_BENCH_FIRST_REQUEST"
"""The environment variable that names the file in which an engine notes when its first request came."""


@dataclass(slots=True)
class Work:
    """What an engine did: its steps, and the seconds, rows and tokens in them."""

    steps: int = 0
    busy_s: float = 0.0
    slots: int = 0
    """Rows in the engine, summed over its steps."""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    preemptions: int = 0

    def count_prompts(self, outputs: Iterable[Any]) -> None:
        """Add the prompts that these outputs of vLLM's scheduler say were computed or found in the cache."""
        for output in outputs:
            if output.prefill_stats is not None:
                self.prompt_tokens += output.prefill_stats.num_prompt_tokens
                self.cached_tokens += output.prefill_stats.num_cached_tokens


@dataclass(slots=True)
class Steps(Work):
    """The work of an engine in real time, and how full the engine was, before the last row came into it and after."""

    max_num_seqs: int = 0
    span_s: float = 0.0
    """From the beginning of the first step to the end of the last."""
    prefill_tokens: int = 0
    """Tokens of prompts that the model computed, and of rows that it computed again after a preemption."""
    admitting_steps: int = 0
    """Steps up to the one in which the last row was let in."""
    admitting_slots: int = 0
    """Rows in the engine, summed over these."""

    @property
    def busy_share(self) -> float:
        """Of the time between first and last step, that in which the model computed one."""
        return self.busy_s / self.span_s

    @property
    def occupancy(self) -> float:
        """The engine's rows over its places, of all steps."""
        return self.slots / (self.steps * self.max_num_seqs)

    @property
    def admitting_occupancy(self) -> float:
        """The same until the last row was let in."""
        return self.admitting_slots / (self.admitting_steps * self.max_num_seqs)

    @property
    def tail_slots_lost(self) -> int:
        """Places without a row, summed over the steps after that."""
        tail_steps = self.steps - self.admitting_steps
        return tail_steps * self.max_num_seqs - (self.slots - self.admitting_slots)

    @property
    def cached_share(self) -> float:
        """Of the prompts' tokens, those that the prefix cache served."""
        return self.cached_tokens / self.prompt_tokens


@dataclass(frozen=True, slots=True)
class Planned:
    """What a scheduler has put into a step."""

    rows: int
    """Those in the engine."""
    prefill_tokens: int
    lets_in: bool
    """Whether a row came in that was not there before."""


class Meter:
    """Counts steps as they begin and end. One may begin while another is computed: the model is busy, once, in both."""

    def __init__(self, max_num_seqs: int) -> None:
        self.steps = Steps(max_num_seqs=max_num_seqs)
        self._computing = 0
        self._first_at_s = 0.0
        self._changed_at_s = 0.0

    def begin(self, planned: Planned, now_s: float) -> None:
        """Count a step that the model gets now."""
        steps = self.steps
        if not steps.steps:
            self._first_at_s = now_s
        self._pass(now_s)
        self._computing += 1
        steps.steps += 1
        steps.slots += planned.rows
        steps.prefill_tokens += planned.prefill_tokens
        if planned.lets_in:
            steps.admitting_steps, steps.admitting_slots = steps.steps, steps.slots

    def end(self, now_s: float) -> None:
        """Count the time of the step that began first of those that have not ended."""
        self._pass(now_s)
        self._computing -= 1
        self.steps.span_s = now_s - self._first_at_s

    def _pass(self, now_s: float) -> None:
        if self._computing:
            self.steps.busy_s += now_s - self._changed_at_s
        self._changed_at_s = now_s


def steps_table(runs: Mapping[str, Sequence[Steps]]) -> str:
    """Return the steps of each arm as a table; of several runs, the median of each figure."""
    figures: dict[str, Callable[[Steps], str | float]] = {
        "steps": lambda run: run.steps,
        "engine busy %": lambda run: 100 * run.busy_share,
        "occupancy %": lambda run: 100 * run.occupancy,
        "until the last admission %": lambda run: 100 * run.admitting_occupancy,
        "places lost after it": lambda run: run.tail_slots_lost,
        "prefill tokens computed": lambda run: run.prefill_tokens,
        "cached %": lambda run: 100 * run.cached_share,
        "preemptions": lambda run: run.preemptions,
    }
    return table(
        [
            ("arm", *figures),
            *(
                (arm, *(_cell(name, [figure(run) for run in of_arm]) for name, figure in figures.items()))
                for arm, of_arm in runs.items()
            ),
        ]
    )


def _cell(name: str, values: Sequence[Any]) -> str:
    return f"{median(values):.1f}" if name.endswith("%") else f"{median(values):,.0f}"
