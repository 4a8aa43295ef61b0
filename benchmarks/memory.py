"""Peak memory of a whole job at two sizes, with an engine that holds none: what grows with the rows is ours."""

from collections.abc import Mapping, Sequence

from benchmarks.arms.ours import Ours
from benchmarks.machine import Setting
from benchmarks.measuring import BUILD, measure
from benchmarks.processes import Cost
from benchmarks.records import Recorder
from benchmarks.tables import table
from benchmarks.workloads import write_tiny

MIB = 1 << 20


def run(sizes: Sequence[int], setting: Setting) -> str:
    """Measure one job for each number of rows; return the table. Each run is recorded as it ends."""
    recorder = Recorder("memory", setting)
    costs: dict[int, Cost] = {}
    for rows in sizes:
        workload = write_tiny(BUILD / "workloads", rows)
        figures = measure(Ours("echo", engine="echo"), workload, with_memory=True)
        recorder.add(figures, workload)
        print(f"{rows:,} rows: peak {figures.cost.peak_pss_bytes / MIB:.0f} MiB", flush=True)
        costs[rows] = figures.cost
        workload.requests.unlink()
    return summary(costs)


def summary(costs: Mapping[int, Cost]) -> str:
    """Return the peaks in MiB: of the whole tree at once, and of each process alone; the growth in the last column."""
    names = sorted({name for cost in costs.values() for name in cost.peak_pss_by_process})
    peaks = {"all together": [cost.peak_pss_bytes for cost in costs.values()]} | {
        name: [cost.peak_pss_by_process.get(name, 0) for cost in costs.values()] for name in names
    }
    head = ("process", *(f"MiB at {rows:,} rows" for rows in costs), "growth MiB")
    body = [
        (name, *(f"{peak / MIB:.0f}" for peak in of_name), f"{(of_name[-1] - of_name[0]) / MIB:+.0f}")
        for name, of_name in peaks.items()
    ]
    return table([head, *body])
