"""quack's functions and Transformer Engine's, as `QuackKernels` calls them, in plain torch."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch_kernels import TorchKernels, concatenated, interleaved

PLAIN = TorchKernels()


def gemm_gated(x: Tensor, up: Tensor, *, activation: str, concat_layout: tuple, tuned: bool, **how: object):
    assert (activation, concat_layout, tuned) == ("swiglu", ("B",), False)
    return PLAIN.gated_product(x, up.T)


def gemm_dgated(gradient: Tensor, down: Tensor, gate_up: Tensor, *, activation: str, tuned: bool, **how: object):
    assert (activation, tuned) == ("swiglu", False)
    return PLAIN.gated_product_backward(gradient, down, gate_up)


def multiply(
    left: Tensor,
    right: Tensor,
    out: Tensor,
    addend: Tensor | None,
    *,
    concat_layout: tuple = (),
    add_to_output: bool = False,
    **how: object,
) -> None:
    """quack's gemm_tuned.fn."""
    product = left.float() @ (interleaved(right, 0) if "B" in concat_layout else right).float()
    product = concatenated(product) if "out" in concat_layout else product
    assert ("out" in concat_layout) == ("C" in concat_layout) == add_to_output
    out.copy_((out.float() if add_to_output else 0) + product + (0 if addend is None else addend.float()))


def rmsnorm_fwd(x: Tensor, weight: Tensor, *, residual: Tensor | None, eps: float, store_rstd: bool):
    assert store_rstd
    return PLAIN.norm(x, weight, residual, eps)


def rmsnorm_bwd_add(
    gradient: Tensor, x: Tensor, add: Tensor, inverse_rms: Tensor, weight: Tensor, margin: int, zero_centered: bool
):
    """Transformer Engine's, by its order of arguments (pytorch/ops/fused/backward_add_rmsnorm.py)."""
    assert (margin, zero_centered) == (0, False)
    into_x, into_weight = PLAIN.norm_backward(gradient, add, x, weight, inverse_rms)
    return into_x.to(x.dtype), into_weight.to(weight.dtype)


def install(patch: pytest.MonkeyPatch) -> None:
    """Let these be imported in the places of the packages, on a Hopper card."""
    modules = {
        "quack": SimpleNamespace(),
        "quack.gemm_config": SimpleNamespace(GemmConfig=SimpleNamespace),
        "quack.gemm_interface": SimpleNamespace(
            gemm_gated=gemm_gated, gemm_dgated=gemm_dgated, gemm_tuned=SimpleNamespace(fn=multiply)
        ),
        "quack.rmsnorm": SimpleNamespace(rmsnorm_fwd=rmsnorm_fwd),
        "transformer_engine": SimpleNamespace(),
        "transformer_engine.pytorch": SimpleNamespace(),
        "transformer_engine_torch": SimpleNamespace(rmsnorm_bwd_add=rmsnorm_bwd_add),
        "megatron_recipe.wgrad_fusion": SimpleNamespace(add_weight_gradient=PLAIN.add_gradient),
    }
    for name, module in modules.items():
        patch.setitem(sys.modules, name, module)
    patch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
