"""The names of requests' fields that batchctl knows without vLLM are those that vLLM has."""

import orjson
import pytest

from pipelines.engines.vllm.dump_fields import TARGET, known_fields


@pytest.mark.vllm
def test_the_stored_names_are_those_of_this_vllm() -> None:
    assert orjson.loads(TARGET.read_bytes()) == known_fields(), "run python -m pipelines.engines.vllm.dump_fields"
