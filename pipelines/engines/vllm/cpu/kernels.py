"""RMS norms by one kernel each on CPUs, registered as vLLM's own extension point provides.

vLLM's CPU build has these kernels and uses them on no CPU: it expects that the compiler joins the eight operations of a
norm. Engines that do not compile ran them one by one, a third of the time of a small model: docs/decisions/0011.
"""

from dataclasses import replace

import torch
from torch import Tensor
from vllm import ir
from vllm.config.kernel import IrOpPriorityConfig

from pipelines import seams

PROVIDER = "batchctl_cpu"
DTYPES = (torch.float32, torch.bfloat16)
VECTOR = 32
"""The kernels take rows of whole vectors; this is a multiple of all their widths."""


def _fits(x: Tensor, weight: Tensor | None, variance_size: int | None) -> bool:
    return (
        variance_size is None
        and weight is not None
        and weight.dtype == x.dtype
        and x.dtype in DTYPES
        and x.is_contiguous()
        and x.shape[-1] % VECTOR == 0
    )


def _norm_fits(x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None) -> bool:  # noqa: ARG001 - as vLLM calls it
    return _fits(x, weight, variance_size)


def _added_norm_fits(
    x: Tensor,
    x_residual: Tensor,
    weight: Tensor | None,
    epsilon: float,  # noqa: ARG001 - as vLLM calls it
    variance_size: int | None = None,
) -> bool:
    return _fits(x, weight, variance_size) and x_residual.dtype == x.dtype and x_residual.is_contiguous()


@ir.ops.rms_norm.register_impl(PROVIDER, supports_args=_norm_fits)
def rms_norm(x: Tensor, weight: Tensor | None, epsilon: float, variance_size: int | None = None) -> Tensor:  # noqa: ARG001 - see above
    """Weighted root-mean-square norm of each row of `x`; what `_norm_fits` refuses, vLLM computes as before."""
    normed = torch.empty_like(x)
    torch.ops._C.rms_norm(normed, x, weight, epsilon)
    return normed


@ir.ops.fused_add_rms_norm.register_impl(PROVIDER, supports_args=_added_norm_fits, inplace=True)
def fused_add_rms_norm(
    x: Tensor,
    x_residual: Tensor,
    weight: Tensor | None,
    epsilon: float,
    variance_size: int | None = None,  # noqa: ARG001 - see above
) -> tuple[Tensor, Tensor]:
    """The norm of `x + x_residual`, and that sum; both in the places of what was given."""
    torch.ops._C.fused_add_rms_norm(x, x_residual, weight, epsilon)
    return x, x_residual


def probe() -> None:
    """Raise Unexpected unless vLLM's operations and its engines take implementations by name."""
    seams.expect(ir.ops.rms_norm, "register_impl")
    seams.expect(ir.ops.fused_add_rms_norm, "register_impl")
    seams.expect(IrOpPriorityConfig(), "rms_norm", "fused_add_rms_norm")


def preferred(given: IrOpPriorityConfig) -> IrOpPriorityConfig:
    """Return which implementations an engine tries first: these, where none was `given`; vLLM adds its own."""
    return replace(
        given,
        rms_norm=given.rms_norm or [PROVIDER],
        fused_add_rms_norm=given.fused_add_rms_norm or [PROVIDER],
    )
