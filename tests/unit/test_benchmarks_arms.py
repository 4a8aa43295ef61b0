"""How the arms' commands are made, and how their end is read."""

import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import orjson
import pytest

from benchmarks.arms.bare import Bare
from benchmarks.arms.base import Answered, Arm, ArmFailed, Tuning, base_environment
from benchmarks.arms.oracle import Oracle
from benchmarks.arms.ours import Ours, first_admission
from benchmarks.arms.ray_data_llm import RayDataLlm
from benchmarks.arms.run_batch import RunBatch
from benchmarks.measuring import Figures
from benchmarks.processes import Cost
from benchmarks.steps import FIRST_REQUEST
from benchmarks.throughput import chosen, rotated, summary
from benchmarks.workloads import write_chat, write_few_shot

RUN_BATCH_LOG = """\
100.0000 INFO [hf.py:648] Detected the chat template content format to be 'string'.
101.2500 Running batch:   0% Completed | 0/2 [00:00<?, ?req/s]
103.0000 Running batch: 100% Completed | 2/2 [00:02<00:00, 1.00req/s]
103.5000 Running batch: 100% Completed | 2/2 [00:02<00:00, 1.00req/s]
104.0000 INFO [core_client.py:770] [shutdown] MPClient: start timeout=0s
"""


def figures(steady_s: float, *, steal_share: float = 0.0) -> Figures:
    cost = Cost(0, 0.0, steady_s + 30, 2 * steady_s, steal_share, 0.0, 0, {})
    return Figures(steady_s + 30, 25.0, steady_s, 2000, 36_000, cost, {})


def test_tuned_arguments_become_flags() -> None:
    assert Tuning({"max_num_seqs": 256, "enforce_eager": True, "enable_prefix_caching": False}, {}).flags() == [
        "--max-num-seqs", "256", "--enforce-eager", "--no-enable-prefix-caching",
    ]  # fmt: skip


def test_a_tuned_arm_gets_the_arguments_and_a_default_one_none(tmp_path: Path) -> None:
    workload = write_chat(tmp_path, 2)
    tuned = RunBatch("model", Tuning({"block_size": 32}, {"OMP_WAIT_POLICY": "passive"}))
    assert tuned.command(workload, tmp_path)[-2:] == ["--block-size", "32"]
    assert tuned.environment()["OMP_WAIT_POLICY"] == "passive"
    assert "--block-size" not in RunBatch("model").command(workload, tmp_path)
    assert "OMP_WAIT_POLICY" not in RunBatch("model").environment()


def test_what_the_user_set_for_vllm_reaches_no_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert base_environment()["VLLM_CPU_KVCACHE_SPACE"] != "1"
    assert "OMP_NUM_THREADS" not in base_environment()


def test_run_batch_is_timed_from_its_bar_to_its_writing(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 40, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 32}}
    body = {"status_code": 200, "body": {"usage": usage}}
    (tmp_path / "answers.jsonl").write_bytes(orjson.dumps({"response": body}) + b"\n")
    (tmp_path / "log.txt").write_text(RUN_BATCH_LOG)
    answered = RunBatch("model").answered(tmp_path)
    assert (answered.admitted_at, answered.ended_at) == (101.25, 103.5)
    assert (answered.rows, answered.completion_tokens) == (1, 7)
    assert (answered.prompt_tokens, answered.cached_tokens) == (40, 32)


def test_every_script_reports_its_own_times(tmp_path: Path) -> None:
    report = Answered(admitted_at=1.5, ended_at=3.0, rows=2, completion_tokens=7)
    for arm in (Bare("model"), RayDataLlm("model"), Oracle("model")):
        with pytest.raises(ArmFailed, match=f"{arm.name} did not come to its end"):
            arm.answered(tmp_path)
    (tmp_path / "report.json").write_bytes(orjson.dumps(asdict(report)))
    for arm in (Bare("model"), RayDataLlm("model"), Oracle("model")):
        assert arm.answered(tmp_path) == report


def test_the_oracle_orders_by_beginnings_only_where_the_cache_is_short(tmp_path: Path) -> None:
    assert "--order=longest" in Oracle("model").command(write_chat(tmp_path, 2), tmp_path)
    assert "--order=beginning" in Oracle("model").command(write_few_shot(tmp_path, 2), tmp_path)


def test_ray_data_llm_keeps_more_rows_in_flight_only_when_tuned(tmp_path: Path) -> None:
    workload = write_chat(tmp_path, 2)
    tuned = RayDataLlm("model", Tuning({"block_size": 32}, {"KMP_BLOCKTIME": "1"})).command(workload, tmp_path)
    plain = RayDataLlm("model").command(workload, tmp_path)
    noting = '--engine-args={"scheduler_cls": "benchmarks.measured_scheduler.Noting'
    assert any(word.startswith(noting) and '"block_size": 32' in word for word in tuned)
    assert any("max_concurrent_batches" in word for word in tuned)
    assert any(word.startswith(noting) and "block_size" not in word for word in plain)
    assert "--processor-args={}" in plain


def test_ray_data_llms_engine_says_when_its_first_request_came(tmp_path: Path) -> None:
    words = RayDataLlm("model").command(write_chat(tmp_path, 2), tmp_path)

    (told,) = [word.removeprefix("--environment=") for word in words if word.startswith("--environment=")]
    assert f"--first-request={orjson.loads(told)[FIRST_REQUEST]}" in words
    assert "Measured" in str(RayDataLlm("model").measured().engine_args["scheduler_cls"])


def test_our_start_is_the_first_admission_of_any_engine(tmp_path: Path) -> None:
    logs = tmp_path / "_job/logs"
    logs.mkdir(parents=True)
    (logs / "attempt-00000001.log").write_text(
        "2026-11-24 02:39:39,000 INFO pipelines.shards.runner: first row admitted\n"
        "(pid=2) 2026-11-24 02:39:38,500 INFO pipelines.shards.runner: first row admitted\n"
    )
    assert first_admission(tmp_path) == datetime(2026, 11, 24, 2, 39, 38, 500_000).timestamp()  # noqa: DTZ001 - a log's


def test_our_rows_are_safe_when_their_commit_is(tmp_path: Path) -> None:
    commits, logs = tmp_path / "output/_job/commits", tmp_path / "output/_job/logs"
    for folder in (commits, logs):
        folder.mkdir(parents=True)
    (logs / "attempt-00000001.log").write_text(
        "2026-11-24 02:39:38,500 INFO pipelines.shards.runner: first row admitted\n"
    )
    for name in ("b.json", "a.json"):
        (commits / name).touch()
        time.sleep(0.02)  # nobody can set the time of a file's last change
    usage = {"prompt_tokens": 40, "cached_tokens": 32}
    manifest = {"succeeded": 2, "engine": {"config": {}}, "usage": usage}
    (tmp_path / "output/manifest.json").write_bytes(orjson.dumps(manifest))

    answered = Ours("model").answered(tmp_path)

    assert answered.first_durable_at == (commits / "b.json").stat().st_ctime
    assert answered.ended_at == (commits / "a.json").stat().st_ctime > answered.first_durable_at


def test_a_run_without_an_end_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(ArmFailed, match=r"log\.txt"):
        Ours("model").answered(tmp_path)
    (tmp_path / "log.txt").write_text("")
    with pytest.raises(ArmFailed, match=r"log\.txt"):
        RunBatch("model").answered(tmp_path)


def test_ours_runs_beside_the_peers_that_were_named_and_beside_all_where_none_was() -> None:
    arms: list[Arm] = [Ours("model"), RunBatch("model"), RunBatch("model", Tuning({}, {}))]

    assert chosen(arms, []) == arms
    assert chosen(arms, ["run_batch, tuned"]) == [arms[0], arms[2]]
    with pytest.raises(ArmFailed, match="no arm 'run_bach' here: run_batch; run_batch, tuned"):
        chosen(arms, ["run_bach"])


def test_each_arm_comes_first_in_turn() -> None:
    arms = [Ours(str(n)) for n in range(3)]
    orders = [[arm.model for arm in rotated(arms, turn) if isinstance(arm, Ours)] for turn in range(4)]
    assert [order[0] for order in orders] == ["0", "1", "2", "0"]
    assert all(sorted(order) == ["0", "1", "2"] for order in orders)


def test_disturbed_runs_are_left_out_where_there_are_others_and_marked_where_there_are_none() -> None:
    clean, slow = figures(20.0), figures(80.0, steal_share=0.2)
    text = summary({"ours": [clean, slow], "bare": [slow]})
    ours, bare = (next(line for line in text.splitlines() if line.startswith(f"| {name}")) for name in ("ours", "bare"))
    assert "20.0 (20.0-20.0)" in ours
    assert bare.startswith("| bare*")
    assert "4.000" in text
