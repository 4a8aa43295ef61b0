"""An engine that cannot start says why in one sentence, wherever vLLM met it.

That is its command line, its configuration, the process that loads the model, or a worker of that process.
"""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from engines import planned_job, rows
from jobs import CREATED_AT, HOLDER

from batch.errors import BatchError
from batch.records.objects import Epoch
from batch.spec.engine_config import EngineConfig
from pipelines.cluster.actor import EngineActor
from pipelines.engine_process import pool
from pipelines.engine_process.pool import Pool, PoolAddress
from pipelines.engine_process.service import Assignment
from pipelines.models import ARITHMETIC_MODEL

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def hosts() -> PoolAddress:
    pool.import_libraries(EngineConfig("vllm", str(ARITHMETIC_MODEL)))
    return Pool().address


@pytest.fixture
def told(hosts: PoolAddress, tmp_path: Path) -> Callable[..., str]:
    """What is told of an engine with this model and these arguments."""

    def start(model: Path = ARITHMETIC_MODEL, **arguments: int | str) -> str:
        job = planned_job(rows(1), root=str(tmp_path), engine="vllm", model=str(model), engine_args=arguments)
        claim = Epoch(1, HOLDER, CREATED_AT)
        assert job.create_epoch(claim)
        ranks = int(arguments.get("tensor_parallel_size", 1))
        config = job.spec().engine_config
        assigned = Assignment(job.uri, claim, config, replicas=1, group=job.uri, world_size=ranks, rows=1)
        actor = EngineActor(assigned, hosts)

        async def asking() -> None:
            await actor(pa.table({"shard": [0]}))

        with pytest.raises(BatchError) as raised:
            asyncio.run(asking())
        print(raised.value)
        return str(raised.value)

    return start


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A copy of the model, to be damaged."""
    return Path(shutil.copytree(ARITHMETIC_MODEL, tmp_path / "model"))


def no_weights(model: Path) -> None:
    (model / "model.safetensors").unlink()


def cut_weights(model: Path) -> None:
    content = (model / "model.safetensors").read_bytes()
    (model / "model.safetensors").write_bytes(content[:5000])


def other_shape(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))


def other_architecture(model: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    changed = {"architectures": ["AbacusForCausalLM"], "model_type": "abacus"}
    (model / "config.json").write_text(json.dumps(config | changed))


def no_config(model: Path) -> None:
    (model / "config.json").write_text("{")


def no_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (no_weights, "RuntimeError: Cannot find any model weights with"),
        (cut_weights, "SafetensorError: Error while deserializing header"),
        (other_shape, "RuntimeError: The size of tensor a (64) must match the size of tensor b (128)"),
        (other_architecture, "model type `abacus` but Transformers does not recognize this architecture"),
        (no_config, "config.json' is not a valid JSON file"),
        (no_tokenizer, "ValueError: Couldn't instantiate the backend tokenizer"),
    ],
)
def test_a_bad_model_is_told_by_what_is_wrong_with_it(
    told: Callable[..., str], model: Path, damage: Callable[[Path], None], words: str
) -> None:
    damage(model)

    check_sentence(told(model), "The engine cannot start: ", words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kv_cache_memory_bytes": 1 << 50}, "is less than requested memory for kv (1048576.0 GiB)"),
        ({"load_format": "sharded_state"}, "Could not find checkpoint files"),
        ({"max_model_len": 10_000_000}, "max_model_len (10000000) is greater than the derived max_model_len"),
        ({"quantization": "awq"}, "Cannot find the config file for awq"),
    ],
)
def test_an_argument_that_does_not_go_is_told_by_its_reason(
    told: Callable[..., str], arguments: dict[str, int | str], words: str
) -> None:
    check_sentence(told(**arguments), "The engine cannot start: ", words)


def test_an_argument_that_vllms_parser_refuses_is_told_once(told: Callable[..., str]) -> None:
    said = told(compilation_config="[1]")

    check_sentence(said, "vLLM does not take these engine arguments: ", "--compilation-config", "should be an object")


def test_the_first_of_several_workers_to_fail_is_heard(told: Callable[..., str], model: Path) -> None:
    no_weights(model)

    check_sentence(told(model, tensor_parallel_size=2), "The engine cannot start: ", "Cannot find any model weights")


def check_sentence(said: str, *parts: str) -> None:
    assert "\n" not in said
    assert "above" not in said
    assert said.startswith(parts[0])
    for part in parts:
        assert part in said
