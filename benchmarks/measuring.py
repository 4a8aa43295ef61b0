"""One run of one arm: from a workload to checked figures. Knows nothing of repeats and of tables."""

import shutil
from dataclasses import dataclass

from benchmarks.arms.base import Arm, ArmFailed, base_environment
from benchmarks.machine import ROOT
from benchmarks.processes import Cost, run_measured
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

    @property
    def is_disturbed(self) -> bool:
        """Whether the host gave more than 3 % of this machine to others: such a run is measured again."""
        return self.cost.steal_share > MAX_STEAL_SHARE


def measure(arm: Arm, workload: Workload, *, with_memory: bool = False) -> Figures:
    """Run `arm` on `workload` and check that it did all of the work.

    What it wrote is deleted afterwards, and kept when ArmFailed is raised.
    """
    folder = BUILD / "runs" / arm.name.replace(", ", "-")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = base_environment() | arm.environment()
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
    shutil.rmtree(folder)
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
    )
