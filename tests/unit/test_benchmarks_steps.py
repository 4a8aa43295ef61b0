"""What the steps of an engine come to, and how an arm is told to count them."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.arms.base import ArmFailed, Tuning
from benchmarks.arms.ours import Ours
from benchmarks.arms.run_batch import RunBatch
from benchmarks.measuring import Figures, counted_steps
from benchmarks.processes import Cost
from benchmarks.steps import Meter, Planned, Steps, steps_table
from benchmarks.throughput import summary
from benchmarks.workloads import write_chat

FULL_THEN_ONE = Steps(
    steps=10,
    busy_s=9.0,
    slots=4 * 6 + 1 * 4,
    prompt_tokens=200,
    cached_tokens=50,
    preemptions=2,
    max_num_seqs=4,
    span_s=10.0,
    prefill_tokens=150,
    admitting_steps=6,
    admitting_slots=4 * 6,
)
"""Four rows in six steps, then the longest of them alone in four more."""


def test_the_model_is_idle_between_its_steps() -> None:
    meter = Meter(4)

    meter.begin(Planned(rows=2, prefill_tokens=30, lets_in=True), 100.0)
    meter.end(103.0)
    meter.begin(Planned(rows=1, prefill_tokens=0, lets_in=False), 104.0)
    meter.end(110.0)

    steps = meter.steps
    assert (steps.busy_s, steps.span_s, steps.busy_share) == (9.0, 10.0, 0.9)
    assert (steps.steps, steps.slots, steps.prefill_tokens) == (2, 3, 30)
    assert (steps.admitting_steps, steps.admitting_slots) == (1, 2)


def test_seconds_in_which_two_steps_overlap_count_once() -> None:
    meter = Meter(4)
    step = Planned(rows=1, prefill_tokens=0, lets_in=False)

    meter.begin(step, 0.0)
    meter.begin(step, 1.0)
    meter.end(4.0)
    meter.begin(step, 5.0)
    meter.end(6.0)
    meter.end(7.0)
    meter.begin(step, 9.0)
    meter.end(10.0)

    assert (meter.steps.busy_s, meter.steps.span_s) == (8.0, 10.0)


def test_places_are_lost_after_the_last_row_came_in() -> None:
    assert FULL_THEN_ONE.occupancy == 0.7
    assert FULL_THEN_ONE.admitting_occupancy == 1.0
    assert FULL_THEN_ONE.tail_slots_lost == 3 * 4


def test_the_table_shows_the_median_of_several_runs() -> None:
    others = [replace(FULL_THEN_ONE, busy_s=5.0, steps=1010), replace(FULL_THEN_ONE, busy_s=7.0, steps=1030)]
    runs = [FULL_THEN_ONE, *others]

    cells = steps_table({"batchctl": runs}).splitlines()[-1].strip("| ").split("|")

    assert [cell.strip() for cell in cells[:3]] == ["batchctl", "1,010", "70.0"]
    assert [cell.strip() for cell in cells[-3:]] == ["150", "25.0", "2"]


def test_the_summary_has_the_table_of_steps_only_where_they_were_counted() -> None:
    plain = Figures(60.0, 25.0, 20.0, 2000, 36_000, Cost(0, 0.0, 60.0, 90.0, 0.0, 0.0, 0, {}), {})
    counted = replace(plain, steps=FULL_THEN_ONE, first_durable_s=31.5)

    assert "engine busy" not in summary({"batchctl": [plain], "LLM.chat": [plain]})
    text = summary({"batchctl": [counted], "LLM.chat": [counted]})
    assert "engine busy" in text
    assert "31.5 (31.5-31.5)" in text


def test_only_an_arm_that_is_measured_gets_a_scheduler_of_ours(tmp_path: Path) -> None:
    workload = write_chat(tmp_path, 2)
    default, tuned, ours = RunBatch("model"), RunBatch("model", Tuning({"block_size": 32}, {})), Ours("model")

    for arm, kind in ((default, ""), (tuned, ""), (ours, "FinalOnly")):
        words = " ".join(arm.measured().command(workload, tmp_path))
        assert f"benchmarks.measured_scheduler.Measured{kind}" in words
        assert arm.measured().name == arm.name
        assert "scheduler" not in " ".join(arm.command(workload, tmp_path))
    assert tuned.measured().engine_args["block_size"] == 32


def test_a_run_without_steps_and_one_of_several_engines_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArmFailed, match="0 engines counted"):
        counted_steps(tmp_path)
    (tmp_path / "steps").mkdir()
    (tmp_path / "steps/1.json").write_text('{"steps": 3}')
    assert counted_steps(tmp_path) == Steps(steps=3)
    (tmp_path / "steps/2.json").write_text("{}")
    with pytest.raises(ArmFailed, match="2 engines counted"):
        counted_steps(tmp_path)
