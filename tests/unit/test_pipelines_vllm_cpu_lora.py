"""Rows without an adapter beside rows with one on a CPU: the slot that vLLM takes for "none" stays empty."""

import pytest

from pipelines.engines.vllm.cpu.lora import minus_one_is_the_last_slot, slots


def test_vllms_kernels_still_take_no_adapter_for_the_last_slot() -> None:
    """When this fails, vLLM has mended it (its pull requests 48421, 49656): `cpu_lora` may go, with decision 0023."""
    assert minus_one_is_the_last_slot()


@pytest.mark.parametrize(("adapters", "asked", "needed"), [(0, 1, 1), (1, 1, 2), (2, 1, 3), (2, 2, 3), (2, 8, 8)])
def test_one_slot_more_than_there_are_adapters_stays_empty(adapters: int, asked: int, needed: int) -> None:
    assert slots(adapters, asked) == needed
