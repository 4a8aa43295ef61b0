"""The scheduler that sends a row's tokens together: vLLM's own, with tokens from a list in the place of a model."""

from typing import TYPE_CHECKING, Any

import pytest

from pipelines.models.random_weights import NAMED_SHAPES, build

if TYPE_CHECKING:
    from vllm.v1.engine import EngineCoreOutput

    from pipelines.engines.vllm.final_output_scheduler import FinalOnly

pytestmark = pytest.mark.vllm


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    build(folder, NAMED_SHAPES["3M"], config_only=True)
    return str(folder)


@pytest.fixture(params=["FinalOnlyScheduler", "FinalOnlyAsyncScheduler"])
def scheduler(model: str, request: pytest.FixtureRequest) -> "FinalOnly":
    from benchmarks.simulated_engine import Device, new_scheduler
    from pipelines.engines.vllm import final_output_scheduler

    return new_scheduler(model, Device(kv_tokens=4096), getattr(final_output_scheduler, request.param))


def add(scheduler: "FinalOnly", name: str, *, max_tokens: int, **asked: Any) -> None:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind
    from vllm.v1.request import Request

    sampling = SamplingParams(max_tokens=max_tokens, output_kind=RequestOutputKind.FINAL_ONLY, **asked)
    scheduler.add_request(Request(name, [1, 2, 3], sampling, None))


def step(scheduler: "FinalOnly", token: int) -> "dict[str, EngineCoreOutput]":
    """Compute `token` for each row; return what is sent to the front end, by row."""
    from vllm.v1.outputs import ModelRunnerOutput

    planned = scheduler.schedule()
    names = list(planned.num_scheduled_tokens)
    computed = ModelRunnerOutput(names, {name: place for place, name in enumerate(names)}, [[token] for _ in names])
    sent = scheduler.update_from_output(planned, computed)
    return {output.request_id: output for front in sent.values() for output in front.outputs}


def test_a_rows_tokens_are_sent_together_when_the_last_is_there(scheduler: "FinalOnly") -> None:
    add(scheduler, "short", max_tokens=2)
    add(scheduler, "long", max_tokens=4)

    sent = [step(scheduler, token) for token in (11, 12, 13, 14)]

    assert [set(outputs) for outputs in sent] == [set(), {"short"}, set(), {"long"}]
    assert sent[1]["short"].new_token_ids == [11, 12]
    assert sent[3]["long"].new_token_ids == [11, 12, 13, 14]
    assert sent[3]["long"].prefill_stats.num_prompt_tokens == 3  # which vLLM tells with the first token


def test_a_step_that_ends_no_row_sends_nothing_at_all(scheduler: "FinalOnly") -> None:
    from vllm.v1.outputs import ModelRunnerOutput

    add(scheduler, "row", max_tokens=2)
    planned = scheduler.schedule()

    assert scheduler.update_from_output(planned, ModelRunnerOutput(["row"], {"row": 0}, [[11]])) == {}


def test_the_load_is_told_now_and_then_and_kept_by_who_is_in_front(scheduler: "FinalOnly") -> None:
    from pipelines.engines.vllm.load import LoadKeeper

    keeper = LoadKeeper()
    scheduler.tell_every_s = 0.0
    add(scheduler, "row", max_tokens=4)
    for stats in (scheduler.make_stats(), None):
        keeper.record(scheduler_stats=stats, iteration_stats=None, engine_idx=0)
    before = keeper.latest

    step(scheduler, 11)
    keeper.record(scheduler_stats=scheduler.make_stats())

    assert before is not None
    assert (before.running, before.waiting, before.kv_cache_use, before.preemptions) == (0, 1, 0.0, 0)
    assert keeper.latest is not None
    assert (keeper.latest.running, keeper.latest.waiting) == (1, 0)
    assert keeper.latest.kv_cache_use > 0


def test_each_job_of_an_engine_has_its_own_preemptions(scheduler: "FinalOnly") -> None:
    from pipelines.engines.vllm.load import LoadKeeper

    keeper = LoadKeeper()
    scheduler.tell_every_s = 0.0
    told = []
    for preemptions in (3, 5):
        scheduler._preemptions = preemptions
        keeper.record(scheduler_stats=scheduler.make_stats())
        told.append(keeper.latest)
        keeper.count_anew()

    assert [load and load.preemptions for load in told] == [3, 2]
    assert keeper.latest is None


@pytest.mark.parametrize("asked", [{"stop": ["x"]}, {"logprobs": 1}, {"prompt_logprobs": 1}])
def test_a_row_that_is_looked_at_while_it_grows_is_sent_step_by_step(
    scheduler: "FinalOnly", asked: dict[str, object]
) -> None:
    add(scheduler, "row", max_tokens=2, **asked)

    assert step(scheduler, 11)["row"].new_token_ids == [11]
    assert step(scheduler, 12)["row"].new_token_ids == [12]


def test_of_an_aborted_row_nothing_is_kept(scheduler: "FinalOnly") -> None:
    from vllm.v1.request import RequestStatus

    add(scheduler, "row", max_tokens=3)
    step(scheduler, 11)
    scheduler.finish_requests("row", RequestStatus.FINISHED_ABORTED)
    add(scheduler, "row", max_tokens=1)

    assert step(scheduler, 21)["row"].new_token_ids == [21]
