"""The plots: which runs they show, and that bars and labels say what was recorded."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from benchmarks.plotting import newest, read_runs, seconds_figure, speed_figure, write_plots

CHAT = "chat, 2,000 rows, 3M, CPU, commit new0000"


def line(arm: str, steady_s: float, *, commit: str = "new0000aaa", at: str = "02", **more: Any) -> dict[str, Any]:
    """A line of results of a run that took 10 s to start, and 3 s to end."""
    cost = {"steal_share": more.pop("steal_share", 0.0)}
    measured = {"startup_s": 10.0, "steady_s": steady_s, "wall_s": 13.0 + steady_s, "cost": cost, **more}
    return {
        "at": f"2026-01-{at}T00:00:00Z",
        "arm": arm,
        "model": "3M",
        "measured": measured,
        "workload": {"name": "chat-2000", "rows": 2000},
        "setting": {"commit": commit, "device": "2 cores of some processor, 24 GiB, no GPU"},
    }


def write(folder: Path, *lines: dict[str, Any]) -> Path:
    (folder / "throughput-1.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in lines))
    return folder


def widths(axes: Any) -> list[Any]:
    return [pytest.approx(bar.get_width()) for bar in axes.patches]


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_bar_is_as_long_as_ours_is_faster_than_the_peer(tmp_path: Path) -> None:
    write(
        tmp_path,
        line("batchctl", 10.0),
        line("run_batch, tuned", 20.0),
        line("LLM.chat", 50.0),
        line("LLM.chat, tuned", 8.0),
    )

    axes: Any = speed_figure(newest(read_runs(tmp_path))).axes[0]

    assert [label.get_text() for label in axes.get_yticklabels()] == ["LLM.chat, tuned", "run_batch, tuned"]
    assert widths(axes) == [0.8, 2.0]
    assert texts(axes) == [CHAT, "0.80", "2.00"]


def test_several_runs_have_an_interval(tmp_path: Path) -> None:
    write(tmp_path, line("batchctl", 10.0), line("run_batch, tuned", 20.0), line("run_batch, tuned", 30.0))

    axes: Any = speed_figure(newest(read_runs(tmp_path))).axes[0]

    assert widths(axes) == [2.5]
    assert texts(axes) == [CHAT, "2.50  [2.00, 3.00]"]
    assert list(axes.lines[0].get_xdata()) == [2.0, 3.0]


def test_the_seconds_of_a_run_stand_behind_each_other(tmp_path: Path) -> None:
    ours = (line("batchctl", 20.0), line("batchctl", 40.0))
    write(tmp_path, *ours, line("LLM.chat", 50.0), line("LLM.chat, tuned", 8.0))

    axes: Any = seconds_figure(newest(read_runs(tmp_path))).axes[0]

    assert [label.get_text() for label in axes.get_yticklabels()] == ["batchctl", "LLM.chat", "LLM.chat, tuned"]
    assert widths(axes) == [10.0, 30.0, 3.0, 10.0, 50.0, 3.0, 10.0, 8.0, 3.0]
    assert [bar.get_x() for bar in axes.patches[:3]] == [0.0, 10.0, 40.0]
    assert texts(axes) == [CHAT, "43 s", "63 s", "21 s"]


def test_of_each_workload_the_newest_commit_is_drawn_that_has_a_tuned_peer(tmp_path: Path) -> None:
    old, alone = {"commit": "old0000aaa", "at": "01"}, {"commit": "alone00aaa", "at": "03"}
    write(
        tmp_path,
        *(line("batchctl", 10.0), line("run_batch, tuned", 20.0)),
        *(line("batchctl", 99.0, **old), line("run_batch, tuned", 99.0, **old), line("oracle, tuned", 99.0, **old)),
        *(line("batchctl", 98.0, **alone), line("LLM.chat", 98.0, **alone)),
    )

    workloads = newest(read_runs(tmp_path))

    assert {name: list(arms) for name, arms in workloads.items()} == {CHAT: ["batchctl", "run_batch, tuned"]}


def test_a_run_that_counted_steps_and_a_disturbed_one_beside_others_are_left_out(tmp_path: Path) -> None:
    write(
        tmp_path,
        line("batchctl", 10.0),
        line("batchctl", 12.0, steps={"steps": 100}),
        line("batchctl", 30.0, steal_share=0.2),
        line("run_batch, tuned", 30.0, steal_share=0.2),
    )

    arms = newest(read_runs(tmp_path))[CHAT]

    assert {arm: [run.steady_s for run in runs] for arm, runs in arms.items()} == {
        "batchctl": [10.0],
        "run_batch, tuned": [30.0],
    }


def test_the_same_records_give_the_same_files_with_their_labels_as_text(tmp_path: Path) -> None:
    write(tmp_path, line("batchctl", 10.0), line("run_batch, tuned", 20.0))

    first = [file.read_text() for file in write_plots(tmp_path, tmp_path / "one")]
    second = [file.read_text() for file in write_plots(tmp_path, tmp_path / "two")]

    assert first == second
    assert all(f">{CHAT}</text>" in svg and ">run_batch, tuned</text>" in svg for svg in first)
    assert ">2.00</text>" in first[0]
    assert ">33 s</text>" in first[1]
