"""One run of one arm: from a workload to checked figures. Knows nothing of repeats and of tables."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.arms.base import Arm, ArmFailed, base_environment
from benchmarks.machine import ROOT
from benchmarks.processes import Cost, run_measured
from benchmarks.steps import STEPS_FOLDER, Steps
from benchmarks.workloads import Workload

BUILD = ROOT / "build" / "benchmarks"
MAX_STEAL_SHARE = 0.03


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run took, in seconds unless named otherwise."""

    wall_s: float
    """From the start of the process to its end."""
    startup_s: float
    """From the start of the process to the first admission."""
    steady_s: float
    """From the first admission to what the arm calls its end."""
    rows: int
    completion_tokens: int
    cost: Cost
    engine: dict[str, object]
    prompt_tokens: int = 0
    """Of the rows that were asked; 0 where the arm does not say."""
    cached_tokens: int = 0
    """Of these, tokens that the engine's prefix cache served."""
    first_durable_s: float | None = None
    """From the start of the process to the first rows that were safe; None where all are written at the end."""
    steps: Steps | None = None
    """Of its engine, where they were asked for: counting them takes time, so such a run's seconds are compared with
    those of its like only."""

    @property
    def is_disturbed(self) -> bool:
        """Whether the host gave more than 3 % of this machine to others: such a run is measured again."""
        return self.cost.steal_share > MAX_STEAL_SHARE


def measure(arm: Arm, workload: Workload, *, with_memory: bool = False, with_steps: bool = False) -> Figures:
    """Run `arm` on `workload` and check that it did all of the work; for the steps its scheduler must count them.

    What it wrote is deleted afterwards, and kept when ArmFailed is raised.
    """
    folder = BUILD / "runs" / arm.name.replace(", ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = base_environment() | (steps_environment(folder) if with_steps else {}) | arm.environment()
    cost = run_measured(
        arm.command(workload, folder), environment=environment, log=folder / "log.txt", with_memory=with_memory
    )
    if cost.exit_code:
        raise ArmFailed(f"{arm.name} ended with exit code {cost.exit_code}; see {folder / 'log.txt'}")
    answered = arm.answered(folder)
    done = (answered.rows, answered.completion_tokens)
    if done != (workload.rows, workload.completion_tokens):
        raise ArmFailed(
            f"{arm.name} answered {done[0]} rows with {done[1]} tokens; {workload.name} has {workload.rows} rows "
            f"with {workload.completion_tokens}; see {folder}"
        )
    counted = counted_steps(folder) if with_steps else None
    shutil.rmtree(folder)
    first_at = answered.first_durable_at
    return Figures(
        wall_s=cost.wall_s,
        startup_s=answered.admitted_at - cost.started_at,
        steady_s=answered.ended_at - answered.admitted_at,
        rows=answered.rows,
        completion_tokens=answered.completion_tokens,
        cost=cost,
        engine=answered.engine,
        prompt_tokens=answered.prompt_tokens,
        cached_tokens=answered.cached_tokens,
        first_durable_s=None if first_at is None else first_at - cost.started_at,
        steps=counted,
    )


def steps_environment(folder: Path) -> dict[str, str]:
    """Return what an engine needs to find the scheduler that counts, and the folder that it writes to."""
    inherited = os.environ.get("PYTHONPATH")
    paths = f"{ROOT}{os.pathsep}{inherited}" if inherited else str(ROOT)
    return {"PYTHONPATH": paths, STEPS_FOLDER: str(folder / "steps")}


def counted_steps(folder: Path) -> Steps:
    """Read what the engine of a finished run wrote. Raises ArmFailed unless there was one engine that did."""
    written = sorted((folder / "steps").glob("*.json"))
    if len(written) != 1:
        raise ArmFailed(f"{len(written)} engines counted their steps, one was to; see {folder / 'log.txt'}")
    return Steps(**orjson.loads(written[0].read_bytes()))
