"""The schedulers that count: vLLM's own and ours, with tokens from a list in the place of a model."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from benchmarks.measuring import counted_steps
from benchmarks.steps import FIRST_REQUEST, STEPS_FOLDER
from pipelines.models.random_weights import NAMED_SHAPES, build

pytestmark = pytest.mark.vllm

KINDS = ["Scheduler", "AsyncScheduler", "FinalOnlyScheduler", "FinalOnlyAsyncScheduler"]
MakeScheduler: TypeAlias = Callable[..., Any]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    build(folder, NAMED_SHAPES["3M"], config_only=True)
    return str(folder)


@pytest.fixture(params=KINDS)
def measured(model: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: Any) -> MakeScheduler:
    """Makes a scheduler that counts; counted_steps(tmp_path) reads what it wrote."""
    from benchmarks import measured_scheduler
    from benchmarks.simulated_engine import Device, new_scheduler

    monkeypatch.setenv(STEPS_FOLDER, str(tmp_path / "steps"))
    kind = getattr(measured_scheduler, f"Measured{request.param}")
    return lambda **sizes: new_scheduler(model, Device(**sizes), kind)


def add(scheduler: Any, name: str, *, prompt: list[int], max_tokens: int) -> None:
    from vllm import SamplingParams
    from vllm.utils.hashing import get_hash_fn_by_name
    from vllm.v1.core.kv_cache_utils import get_request_block_hasher, init_none_hash
    from vllm.v1.request import Request

    hash_of = get_hash_fn_by_name("sha256")
    init_none_hash(hash_of)
    hashed = get_request_block_hasher(32, hash_of)
    sampling = SamplingParams(max_tokens=max_tokens, ignore_eos=True)
    scheduler.add_request(Request(name, prompt, sampling, None, block_hasher=hashed))


def run(scheduler: Any) -> list[dict[str, int]]:
    """Compute until no row is left; return the tokens of each row in each step."""
    steps: list[dict[str, int]] = []
    while scheduler.has_requests():
        planned = scheduler.schedule()
        steps.append(dict(planned.num_scheduled_tokens))
        compute(scheduler, planned)
    return steps


def compute(scheduler: Any, planned: Any) -> None:
    from vllm.v1.outputs import ModelRunnerOutput

    rows = [scheduler.requests[name] for name in planned.num_scheduled_tokens]
    tokens = [[7] if row.num_computed_tokens >= row.num_tokens else [] for row in rows]
    places = {row.request_id: place for place, row in enumerate(rows)}
    scheduler.update_from_output(planned, ModelRunnerOutput(list(places), places, tokens))


def test_three_rows_in_two_places(measured: MakeScheduler, tmp_path: Path) -> None:
    scheduler = measured(kv_tokens=4096, max_num_seqs=2)
    for name, max_tokens in (("long", 3), ("short", 1), ("last", 1)):
        add(scheduler, name, prompt=[1] * 5, max_tokens=max_tokens)

    steps = run(scheduler)

    # The step behind them computes nothing: vLLM tells the model with it that the last row has ended.
    assert steps == [{"long": 5, "short": 5}, {"long": 1, "last": 5}, {"long": 1}, {}]
    counted = counted_steps(tmp_path)  # though nobody has shut it down
    assert (counted.steps, counted.slots, counted.max_num_seqs) == (3, 2 + 2 + 1, 2)
    assert (counted.admitting_steps, counted.admitting_slots, counted.tail_slots_lost) == (2, 4, 1)
    assert (counted.prefill_tokens, counted.prompt_tokens, counted.cached_tokens) == (15, 15, 0)
    assert counted.preemptions == 0
    assert 0 < counted.busy_s <= counted.span_s


@pytest.mark.parametrize("measured", [kind for kind in KINDS if "Async" in kind], indirect=True)
def test_a_row_keeps_its_place_while_its_last_token_is_computed(measured: MakeScheduler, tmp_path: Path) -> None:
    scheduler = measured(kv_tokens=4096)
    for name, max_tokens in (("long", 3), ("short", 1)):
        add(scheduler, name, prompt=[1] * 5, max_tokens=max_tokens)

    first, second = scheduler.schedule(), scheduler.schedule()
    compute(scheduler, first)
    third = scheduler.schedule()
    compute(scheduler, second)
    compute(scheduler, third)

    steps = [dict(planned.num_scheduled_tokens) for planned in (first, second, third)]
    assert steps == [{"long": 5, "short": 5}, {"long": 1}, {"long": 1}]
    counted = counted_steps(tmp_path)
    assert (counted.steps, counted.slots, counted.prefill_tokens) == (3, 2 + 2 + 1, 10)
    assert counted.busy_s == pytest.approx(counted.span_s)  # there was always a step to be computed


def test_a_prompt_in_pieces_is_computed_once_and_waits_in_its_place(measured: MakeScheduler, tmp_path: Path) -> None:
    scheduler = measured(kv_tokens=4096, max_num_seqs=2, max_num_batched_tokens=4)
    add(scheduler, "row", prompt=[1] * 9, max_tokens=2)

    assert [step.get("row") for step in run(scheduler)] == [4, 4, 1, 1, None]
    counted = counted_steps(tmp_path)
    assert (counted.steps, counted.slots, counted.prefill_tokens, counted.admitting_steps) == (4, 4, 9, 1)


@pytest.mark.parametrize("calls_it_new", [False, True])
def test_what_a_preempted_row_computes_again_is_counted_and_its_return_is_no_admission(
    measured: MakeScheduler, tmp_path: Path, calls_it_new: bool
) -> None:
    scheduler = measured(kv_tokens=4 * 32)  # vLLM keeps one of these blocks
    scheduler.use_v2_model_runner = calls_it_new  # that of a GPU is told of a row's return as of a new row
    for token, name in enumerate(("first", "second")):
        add(scheduler, name, prompt=[token] * 31, max_tokens=40)

    steps = run(scheduler)

    # At its 33rd token each needs a second block, and one is left; at its 65th the first takes what the second had.
    assert [step.get("second") for step in steps[:4]] == [31, 1, None, None]
    counted = counted_steps(tmp_path)
    assert counted.preemptions == 1
    assert (counted.prompt_tokens, counted.prefill_tokens) == (62, 62 + 33)
    assert counted.admitting_steps == 1


def test_what_the_prefix_cache_serves_is_not_computed(measured: MakeScheduler, tmp_path: Path) -> None:
    scheduler = measured(kv_tokens=4096, max_num_seqs=1)
    for name in ("first", "second"):
        add(scheduler, name, prompt=[1] * 70, max_tokens=1)

    run(scheduler)

    counted = counted_steps(tmp_path)
    assert (counted.prompt_tokens, counted.cached_tokens, counted.prefill_tokens) == (140, 64, 76)


@pytest.mark.parametrize("kind", KINDS)
def test_to_count_changes_no_step(kind: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vllm.v1.core.sched import async_scheduler, scheduler

    from benchmarks import measured_scheduler
    from benchmarks.simulated_engine import Device, new_scheduler
    from pipelines.engines.vllm import final_output_scheduler

    monkeypatch.setenv(STEPS_FOLDER, str(tmp_path / "steps"))
    plain = next(
        getattr(module, kind)
        for module in (final_output_scheduler, async_scheduler, scheduler)
        if hasattr(module, kind)
    )
    done = []
    for one in (plain, getattr(measured_scheduler, f"Measured{kind}")):
        busy = new_scheduler(model, Device(kv_tokens=12 * 32, max_num_seqs=8, max_num_batched_tokens=64), one)
        for number in range(20):
            add(busy, f"row-{number}", prompt=[number] * (20 + 3 * number), max_tokens=1 + 7 * number % 30)
        done.append(run(busy))

    assert done[0] == done[1]
    assert len(done[0]) == counted_steps(tmp_path).steps + 1
    assert counted_steps(tmp_path).preemptions > 0


def test_the_last_word_is_written_when_the_engine_ends(measured: MakeScheduler, tmp_path: Path) -> None:
    scheduler = measured(kv_tokens=4096)
    add(scheduler, "row", prompt=[1] * 5, max_tokens=3)
    scheduler.schedule()

    assert not list(tmp_path.rglob("*.json"))
    scheduler.shutdown()
    assert counted_steps(tmp_path).steps == 1


@pytest.mark.parametrize("kind", ["NotingScheduler", "NotingAsyncScheduler", "MeasuredScheduler"])
def test_the_first_request_is_noted_and_no_other(model: str, kind: str, tmp_path: Path, monkeypatch: Any) -> None:
    from benchmarks import measured_scheduler
    from benchmarks.simulated_engine import Device, new_scheduler

    noted = tmp_path / "first-request"
    monkeypatch.setenv(FIRST_REQUEST, str(noted))
    monkeypatch.setenv(STEPS_FOLDER, str(tmp_path / "steps"))
    scheduler = new_scheduler(model, Device(kv_tokens=1024), getattr(measured_scheduler, kind))
    before = time.time()
    add(scheduler, "a", prompt=[1, 2, 3], max_tokens=2)
    first = noted.read_text()
    add(scheduler, "b", prompt=[4, 5, 6], max_tokens=2)
    run(scheduler)

    assert before <= float(first) <= time.time()
    assert noted.read_text() == first
