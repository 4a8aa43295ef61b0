"""What was recorded, for the eye: our speed beside each tuned peer, and where the seconds of a whole run go.

Of each workload the runs of the newest commit that measured ours beside a tuned peer. Runs nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import matplotlib as mpl
import orjson
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.estimates import speed_ratio
from benchmarks.measuring import MAX_STEAL_SHARE
from benchmarks.records import RESULTS

PLOTS = RESULTS.with_name("plots")
OURS = "batchctl"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "batchctl",  # the same records give the same bytes
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.color": "#555555",
}
FASTER, SLOWER, LINE = "#2b6cb0", "#c05621", "#333333"
PHASES = {"start-up": "#a0aec0", "steady": "#2b6cb0", "rest": "#e2e8f0"}
INCHES_A_BAR = 0.21
BAR = 0.72
"""Of the place that a bar has."""


@dataclass(frozen=True, slots=True)
class Run:
    """One line of results, as far as it is drawn."""

    workload: str
    commit: str
    at: str
    arm: str
    startup_s: float
    steady_s: float
    wall_s: float
    is_disturbed: bool


Arms: TypeAlias = Mapping[str, Sequence[Run]]
"""The runs of each arm, ours first."""


def write_plots(results: Path = RESULTS, folder: Path = PLOTS) -> list[Path]:
    """Draw what `results` holds; return the files."""
    workloads = newest(read_runs(results))
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    with mpl.rc_context(STYLE):
        for name, figure in (("speed", speed_figure(workloads)), ("seconds", seconds_figure(workloads))):
            files.append(folder / f"{name}.svg")
            figure.savefig(files[-1], bbox_inches="tight", metadata={"Date": None, "Creator": None})
    return files


def read_runs(results: Path) -> list[Run]:
    """Return the recorded runs in the order of their time; those that counted steps took longer and are left out."""
    lines = [orjson.loads(line) for file in results.glob("throughput-*.jsonl") for line in file.open("rb")]
    return sorted((_run(line) for line in lines if not line["measured"].get("steps")), key=lambda run: run.at)


def newest(runs: Iterable[Run]) -> dict[str, Arms]:
    """Return for each workload, by name, the runs of its newest commit that has ours and a tuned peer.

    Disturbed runs are left out where an arm has others.
    """
    found: dict[str, dict[str, dict[str, list[Run]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for run in runs:
        found[run.workload][run.commit][run.arm].append(run)
    chosen: dict[str, Arms] = {}
    for workload, commits in sorted(found.items()):
        complete = {commit: arms for commit, arms in commits.items() if OURS in arms and _tuned(arms)}
        if complete:
            commit, arms = list(complete.items())[-1]
            names = sorted(arms, key=lambda arm: (arm != OURS, arm))
            kept = {arm: [run for run in arms[arm] if not run.is_disturbed] or arms[arm] for arm in names}
            chosen[f"{workload}, commit {commit[:7]}"] = kept
    return chosen


def speed_figure(workloads: Mapping[str, Arms]) -> Figure:
    """Draw a bar for each tuned peer: how many times as fast as it ours is, with the interval of several runs."""
    figure, axes, places = _lines({name: _tuned(arms) for name, arms in workloads.items()})
    for (workload, peer), place in places.items():
        ours, theirs = ([run.steady_s for run in workloads[workload][arm]] for arm in (OURS, peer))
        ratio = speed_ratio(ours, theirs)
        axes.barh(place, ratio.value, BAR, color=FASTER if ratio.value >= 1 else SLOWER)
        text, end = f"{ratio.value:.2f}", ratio.value
        if len(ours) > 1 or len(theirs) > 1:
            axes.plot([ratio.low, ratio.high], [place, place], color=LINE, linewidth=1.2)
            text, end = f"{text}  [{ratio.low:.2f}, {ratio.high:.2f}]", ratio.high
        axes.vlines(1.0, place - 0.5, place + 0.5, color=LINE, linewidth=0.9)
        axes.annotate(text, (max(end, 1.0), place), (4, 0), textcoords="offset points", va="center")
    axes.set_title("Steady speed of batchctl relative to each tuned peer", loc="left", fontweight="bold")
    axes.set_xlabel("1 = as fast. Thin lines and brackets: the 95 % interval, where several runs allow it", loc="left")
    return figure


def seconds_figure(workloads: Mapping[str, Arms]) -> Figure:
    """Draw a bar for each arm: the seconds of its whole run, by what they went for."""
    figure, axes, places = _lines(workloads)
    for (workload, arm), place in places.items():
        runs = workloads[workload][arm]
        startup_s, steady_s, wall_s = (
            median(getattr(run, field) for run in runs) for field in ("startup_s", "steady_s", "wall_s")
        )
        left = 0.0
        for phase, seconds in zip(PHASES, (startup_s, steady_s, wall_s - startup_s - steady_s), strict=True):
            axes.barh(place, seconds, BAR, left=left, color=PHASES[phase])
            left += seconds
        axes.annotate(f"{wall_s:.0f} s", (wall_s, place), (4, 0), textcoords="offset points", va="center")
    axes.legend(PHASES, loc="upper right", ncols=len(PHASES), frameon=False, borderaxespad=0)
    axes.set_title("Seconds of a whole run, from the start of the process to its end", loc="left", fontweight="bold")
    axes.set_xlabel("seconds, medians", loc="left")
    return figure


def _lines(groups: Mapping[str, Iterable[str]]) -> tuple[Figure, Axes, dict[tuple[str, str], float]]:
    """Return an empty figure with a heading for each group and, below it, a place for each of its names."""
    places: dict[tuple[str, str], float] = {}
    headings: dict[str, float] = {}
    line = 0.0
    for group, names in groups.items():
        headings[group] = line
        for name in names:
            line += 1
            places[group, name] = line
        line += 1.6
    figure = Figure(figsize=(8, INCHES_A_BAR * (line + 2)))
    axes = figure.add_subplot()
    for group, place in headings.items():
        axes.annotate(group, (0, place), fontweight="bold", va="center", color="#222222")
    axes.set_yticks(list(places.values()), [name for _, name in places])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(line - 0.6, -1.0)  # the first group stands at the top
    return figure, axes, places


def _tuned(arms: Iterable[str]) -> list[str]:
    return sorted(arm for arm in arms if arm.endswith(", tuned"))


def _run(line: Mapping[str, Any]) -> Run:
    measured, workload = line["measured"], line["workload"]
    name = workload["name"].removesuffix(f"-{workload['rows']}")
    device = line["setting"]["device"]
    place = "CPU" if "no GPU" in device else device.partition(",")[0]
    model = line.get("model", "3M")  # the first records name none: there was one only
    return Run(
        workload=f"{name}, {workload['rows']:,} rows, {model}, {place}",
        commit=line["setting"]["commit"],
        at=line["at"],
        arm=line["arm"],
        startup_s=measured["startup_s"],
        steady_s=measured["steady_s"],
        wall_s=measured["wall_s"],
        is_disturbed=measured["cost"]["steal_share"] > MAX_STEAL_SHARE,
    )
