"""The simulation: every row answered, by vLLM's own scheduler, in an order that its prefix cache can use."""

import asyncio
from pathlib import Path

import pytest

from benchmarks.workloads import write_few_shot
from pipelines.models.random_weights import NAMED_SHAPES, build

pytestmark = pytest.mark.vllm


@pytest.mark.parametrize("engines", [1, 2])
def test_the_caches_serve_what_they_can_and_the_engines_end_together(engines: int, tmp_path: Path) -> None:
    from benchmarks.ceiling import ceiling_share
    from benchmarks.simulated_engine import Device
    from benchmarks.simulation import simulate

    workload = write_few_shot(tmp_path, 1140)
    model = str(tmp_path / "model")
    build(tmp_path / "model", NAMED_SHAPES["3M"], config_only=True)
    assert workload.kv_tokens is not None

    outcome = asyncio.run(simulate(workload, model, Device(workload.kv_tokens), engines=engines))

    ceiling = ceiling_share(workload, model, block_size=32)
    assert 0.9 * ceiling <= outcome.hit_share <= ceiling
    assert outcome.balance <= 1.08
    assert all(work.steps and not work.preemptions for work in outcome.works)
