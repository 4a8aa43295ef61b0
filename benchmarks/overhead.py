"""Our own work per row: tiny rows through the whole command, with an engine that answers at once."""

from statistics import median

from benchmarks.arms.ours import Ours
from benchmarks.estimates import spread
from benchmarks.machine import Setting
from benchmarks.measuring import BUILD, Figures, measure
from benchmarks.records import Recorder
from benchmarks.tables import table
from benchmarks.workloads import write_tiny


def run(rows: int, repeats: int, setting: Setting) -> str:
    """Measure `repeats` jobs of `rows` rows; return the table. Each run is recorded as it ends."""
    workload = write_tiny(BUILD / "workloads", rows)
    recorder = Recorder("overhead", setting)
    runs = []
    for turn in range(repeats):
        figures = measure(Ours("echo", engine="echo"), workload)
        recorder.add(figures, workload, turn=turn)
        print(f"turn {turn + 1}  {_us_per_row(figures):.0f} us/row, whole {figures.wall_s:.1f} s", flush=True)
        runs.append(figures)
    steady_s = median(run.steady_s for run in runs)
    wall = spread([run.wall_s for run in runs])
    cells = (
        f"{rows:,}",
        str(repeats),
        str(spread([_us_per_row(run) for run in runs])),
        f"{rows / steady_s:,.0f}",
        f"{1e6 * median(run.cost.cpu_s for run in runs) / rows:.0f}",
        str(spread([run.startup_s for run in runs])),
        str(wall),
        f"{rows / wall.middle:,.0f}",
        f"{max(run.cost.steal_share for run in runs):.1%}".rstrip("%"),
    )
    head = (
        "rows",
        "runs",
        "us/row",
        "rows/s",
        "CPU us/row, whole",
        "start-up s",
        "whole s",
        "rows/s, whole",
        "steal %",
    )
    return table([head, cells])


def _us_per_row(run: Figures) -> float:
    return 1e6 * run.steady_s / run.rows
