"""End to end: the same chats through our command, through `LLM.chat`, `run_batch` and `ray.data.llm`, in turns.

The arms take turns, so that a slow quarter of an hour hits all of them; the order is rotated from round to round.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.arms.bare import Bare
from benchmarks.arms.base import Arm, ArmFailed, Tuning, our_tuning
from benchmarks.arms.oracle import Oracle
from benchmarks.arms.ours import Ours
from benchmarks.arms.ray_data_llm import RayDataLlm
from benchmarks.arms.run_batch import RunBatch
from benchmarks.ceiling import ceiling_share
from benchmarks.estimates import speed_ratio, spread
from benchmarks.machine import Setting
from benchmarks.measuring import BUILD, Figures, measure
from benchmarks.records import Recorder
from benchmarks.steps import steps_table
from benchmarks.tables import table
from benchmarks.workloads import (
    Workload,
    write_chat,
    write_documents,
    write_duplicates,
    write_few_shot,
    write_hot_few_shot,
    write_long,
    write_mixed,
    write_prompts,
    write_scattered,
    write_short,
)
from pipelines.models.random_weights import NAMED_SHAPES, build

MAX_TRIES = 3
VLLM_BLOCK_SIZE = 16
WORKLOADS: dict[str, Callable[[Path, int], Workload]] = {
    "chat": write_chat,
    "duplicates-30": partial(write_duplicates, share=0.3),
    "duplicates-60": partial(write_duplicates, share=0.6),
    "few-shot": write_few_shot,
    "hot-few-shot": write_hot_few_shot,
    "few-shot-fits": partial(write_few_shot, kv_share=4),
    "long-last": partial(write_long, shuffled=False),
    "long-any": partial(write_long, shuffled=True),
    "one-prompt": partial(write_prompts, prompts=1),
    "fifty-prompts": partial(write_prompts, prompts=50),
    "documents": write_documents,
    "scattered": write_scattered,
    "short": write_short,
    "mixed": write_mixed,
}


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is run on which model, and the scheduler sizes that the tuned arms get: ours, on this machine."""

    parameters: str
    """A name of NAMED_SHAPES."""
    rows: int
    workload: str
    """A name of WORKLOADS."""
    repeats: int
    max_num_seqs: int
    max_num_batched_tokens: int
    peers: Sequence[str] = ()
    """Names of the arms to measure beside ours; all where there are none."""
    with_steps: bool = False
    """Whether the engines count their steps, which takes them time."""


def run(sizes: Sizes, setting: Setting) -> str:
    """Measure every arm `repeats` times; return the table. Each run is recorded as it ends."""
    workload = WORKLOADS[sizes.workload](BUILD / "workloads", sizes.rows)
    tuning = our_tuning(
        sizes.rows, max_num_seqs=sizes.max_num_seqs, max_num_batched_tokens=sizes.max_num_batched_tokens
    )
    model = _model(sizes.parameters)
    arms = chosen(_arms(model, tuning, workload), sizes.peers)
    recorder = Recorder("throughput", setting)
    runs: dict[str, list[Figures]] = {arm.name: [] for arm in arms}
    for turn in range(sizes.repeats):
        for arm in rotated(arms, turn):
            for attempt in range(1, MAX_TRIES + 1):
                figures = measure(arm.measured() if sizes.with_steps else arm, workload, with_steps=sizes.with_steps)
                if isinstance(arm, Ours):
                    _require_equal_sizes(figures.engine, tuning)
                recorder.add(figures, workload, arm=arm.name, model=sizes.parameters, turn=turn, attempt=attempt)
                print(_line(arm.name, turn, figures), flush=True)
                runs[arm.name].append(figures)
                if not figures.is_disturbed:
                    break
    ceiling = ceiling_share(workload, model, block_size=_block_size(tuning))
    return f"{summary(runs)}\n\nA cache without end would serve {ceiling:.1%} of the prompt tokens."


def rotated(arms: Sequence[Arm], turn: int) -> list[Arm]:
    """Return the arms in the order of this turn: each comes first once in as many turns as there are arms."""
    first = turn % len(arms)
    return [*arms[first:], *arms[:first]]


def summary(runs: Mapping[str, Sequence[Figures]]) -> str:
    """Return two tables: seconds of each arm, and how many times as fast as each peer the first arm is.

    And a third one, where steps were counted.

    Disturbed runs are left out where an arm has others; where it has none, its runs are marked with `*`.
    """
    kept = {name: [run for run in of_arm if not run.is_disturbed] or of_arm for name, of_arm in runs.items()}
    seconds: list[tuple[str, ...]] = [
        (
            *("arm", "runs", "start-up s", "first durable s", "steady s", "rows/s", "whole s", "CPU s"),
            *("cached %", "steal %", "others %"),
        )
    ]
    seconds += [_row(name, of_arm) for name, of_arm in kept.items()]
    ours, *peers = kept
    ratios: list[tuple[str, ...]] = [(f"speed of {ours} to", "start-up", "steady", "whole")]
    for peer in peers:
        pairs = [
            ([getattr(run, field) for run in kept[ours]], [getattr(run, field) for run in kept[peer]])
            for field in ("startup_s", "steady_s", "wall_s")
        ]
        ratios.append((peer, *(str(speed_ratio(mine, theirs)) for mine, theirs in pairs)))
    steps = {name: [run.steps for run in of_arm if run.steps] for name, of_arm in kept.items()}
    counted = [steps_table(steps)] if all(steps.values()) else []
    return "\n\n".join([table(seconds), table(ratios), *counted])


def _arms(model: str, tuning: Tuning, workload: Workload) -> list[Arm]:
    """Every arm; where the KV cache has a size, only those with equal blocks: an engine counts it in blocks."""
    if workload.kv_tokens is None:
        peers = [peer(model, given) for peer in (Bare, RunBatch, RayDataLlm) for given in (None, tuning)]
        return [Ours(model), *peers, Oracle(model, tuning)]
    cache = {"num_gpu_blocks_override": workload.kv_tokens // _block_size(tuning)}
    limited = Tuning({**tuning.engine_args, **cache}, tuning.environment)
    return [Ours(model, engine_args=cache), *(peer(model, limited) for peer in (Bare, RunBatch, RayDataLlm, Oracle))]


def chosen(arms: Sequence[Arm], peers: Sequence[str]) -> list[Arm]:
    """Return ours, and the peers that were named; all where none was. Raises ArmFailed for a name that no arm has."""
    ours, *others = arms
    unknown = set(peers) - {arm.name for arm in others}
    if unknown:
        raise ArmFailed(f"no arm {sorted(unknown)[0]!r} here: {'; '.join(arm.name for arm in others)}")
    return [ours, *(arm for arm in others if not peers or arm.name in peers)]


def _block_size(tuning: Tuning) -> int:
    """Tokens of a block of the KV cache; vLLM's on a GPU, where ours leaves it."""
    return int(tuning.engine_args.get("block_size", VLLM_BLOCK_SIZE))


def _model(parameters: str) -> str:
    folder = BUILD / f"model-{parameters}"
    build(folder, NAMED_SHAPES[parameters])
    return str(folder)


def _require_equal_sizes(engine: Mapping[str, object], tuning: Tuning) -> None:
    """Ours runs at its defaults; the tuned arms must have got the same. Raises ArmFailed."""
    for name, given in tuning.engine_args.items():
        if engine.get(name, given) != given:
            raise ArmFailed(
                f"ours ran with {name}={engine[name]}, the tuned arms with {given}: "
                f"give --{name.replace('_', '-')} {engine[name]}"
            )


def _row(name: str, runs: Sequence[Figures]) -> tuple[str, ...]:
    steady = spread([run.steady_s for run in runs])
    durable = [run.first_durable_s for run in runs if run.first_durable_s is not None]
    return (
        name + "*" * any(run.is_disturbed for run in runs),
        str(len(runs)),
        str(spread([run.startup_s for run in runs])),
        str(spread(durable)) if durable else "",
        str(steady),
        f"{runs[0].rows / steady.middle:.1f}",
        str(spread([run.wall_s for run in runs])),
        str(spread([run.cost.cpu_s for run in runs])),
        _percent(max(run.cached_tokens / run.prompt_tokens for run in runs)) if runs[0].prompt_tokens else "",
        _percent(max(run.cost.steal_share for run in runs)),
        _percent(max(run.cost.others_share for run in runs)),
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _line(name: str, turn: int, run: Figures) -> str:
    mark = " (disturbed)" if run.is_disturbed else ""
    return (
        f"turn {turn + 1}  {name:18} start-up {run.startup_s:6.1f} s  steady {run.steady_s:6.1f} s  "
        f"whole {run.wall_s:6.1f} s  steal {run.cost.steal_share:.1%}{mark}"
    )
