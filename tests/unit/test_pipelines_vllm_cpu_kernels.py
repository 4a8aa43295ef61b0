"""RMS norms by the CPU's own kernels: what vLLM's implementation gives, and only where the kernels can."""

import pytest
import torch
import vllm._custom_ops  # noqa: F401 - loads the kernels
from vllm import ir
from vllm.config.kernel import IrOpPriorityConfig

from pipelines.engines.vllm.cpu.kernels import PROVIDER, preferred

EPSILON = 1e-5
NORM, ADDED_NORM = (op.impls[PROVIDER] for op in (ir.ops.rms_norm, ir.ops.fused_add_rms_norm))
TOLERANCE = {torch.float32: {"rtol": 1e-5, "atol": 1e-6}, torch.bfloat16: {"rtol": 2**-6, "atol": 2**-6}}


def _rows(*shape: int, dtype: torch.dtype, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(1, 32), (7, 256), (300, 384), (5, 4, 64), (2, 8192)], ids=str)
def test_norms_are_what_vllm_computes(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    rows, residual, weight = (_rows(*size, dtype=dtype, seed=n) for n, size in enumerate((shape, shape, shape[-1:])))

    torch.testing.assert_close(
        NORM.impl_fn(rows, weight, EPSILON),
        ir.ops.rms_norm.impls["native"].impl_fn(rows, weight, EPSILON),
        **TOLERANCE[dtype],
    )
    expected = ir.ops.fused_add_rms_norm.impls["native"].impl_fn(rows, residual, weight, EPSILON)
    computed = ADDED_NORM.impl_fn(rows.clone(), residual.clone(), weight, EPSILON)
    torch.testing.assert_close(computed, expected, **TOLERANCE[dtype])


@pytest.mark.parametrize(
    ("rows", "weight", "variance_size"),
    [
        (_rows(4, 64, dtype=torch.float32), None, None),
        (_rows(4, 64, dtype=torch.float32), _rows(64, dtype=torch.float32), 32),
        (_rows(4, 64, dtype=torch.bfloat16), _rows(64, dtype=torch.float32), None),
        (_rows(4, 64, dtype=torch.float16), _rows(64, dtype=torch.float16), None),
        (_rows(4, 100, dtype=torch.float32), _rows(100, dtype=torch.float32), None),
        (_rows(4, 128, dtype=torch.float32)[:, :64], _rows(64, dtype=torch.float32), None),
    ],
    ids=["no weight", "variance of a part", "two types", "float16", "no whole vectors", "rows apart"],
)
def test_what_the_kernels_cannot_is_left_to_vllm(
    rows: torch.Tensor, weight: torch.Tensor | None, variance_size: int | None
) -> None:
    assert not NORM.supports_args(rows, weight, EPSILON, variance_size)
    assert not ADDED_NORM.supports_args(rows, rows, weight, EPSILON, variance_size)


def test_a_residual_of_another_kind_is_left_to_vllm() -> None:
    rows, weight = _rows(4, 64, dtype=torch.bfloat16), _rows(64, dtype=torch.bfloat16)

    assert ADDED_NORM.supports_args(rows, rows.clone(), weight, EPSILON)
    assert not ADDED_NORM.supports_args(rows, rows.float(), weight, EPSILON)
    assert not ADDED_NORM.supports_args(rows, rows.repeat(1, 2)[:, :64], weight, EPSILON)


def test_what_the_user_prefers_stands() -> None:
    chosen = preferred(IrOpPriorityConfig(rms_norm=["native"]))

    assert chosen.rms_norm == ["native"]
    assert chosen.fused_add_rms_norm == [PROVIDER]
