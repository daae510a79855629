"""The kernels that a fused layer is made of: what each computes, and which ones do on Hopper cards and newer.

quack (https://github.com/Dao-AILab/quack) writes the SwiGLU and the residual addition into the matrix products that
surround them, and the residual addition into the norm. With Megatron's modules each of them is a pass of its own over
the activations: a fifth of a step's time outside the products.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor

from megatron_recipe.product_tiles import HOPPER, Product, Tiles, hopper_tiles


class LayerKernels(Protocol):
    """What a fused layer calls. Rows are tokens; gate_up is the first product's output in the kernels' own order."""

    def norm(self, x: Tensor, weight: Tensor, residual: Tensor | None, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        """RMSNorm of x + residual. Returns it [rows, width], the sum, and 1 / root mean square of each row in FP32."""

    def norm_backward(
        self, gradient: Tensor, sum_gradient: Tensor, summed: Tensor, weight: Tensor, inverse_rms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Gradients of the sum, with the one that comes through it added, and of the weight."""

    def gated_product(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """x · weightᵀ and silu(gate) · up of it. weight: [2 × ffn, width], the gate's rows first."""

    def gated_product_backward(self, gradient: Tensor, weight: Tensor, gate_up: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of gate_up from that of activation · weightᵀ, and the activation once more. weight: [width, ffn]."""

    def product_and_sum(self, x: Tensor, weight: Tensor, addend: Tensor) -> Tensor:
        """x · weightᵀ + addend."""

    def gate_up_to_input(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """Gradient of `gated_product`'s x from that of gate_up."""

    def add_gate_up_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        """main_grad += gradientᵀ · x, with gate_up's columns as the weight has its rows."""

    def add_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        """main_grad += gradientᵀ · x."""


class QuackKernels:
    """quack's kernels, written for sm_90 and up, and Transformer Engine's where those are faster.

    gate_up has a gate and its up beside each other, so that one thread holds both; `concat_layout` reads and writes
    weights that have all gates first, as Megatron's do.
    """

    def __init__(self, tiles: Callable[[Product, int], Tiles] = hopper_tiles) -> None:
        self.tiles = tiles

    def norm(self, x: Tensor, weight: Tensor, residual: Tensor | None, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        """See `LayerKernels.norm`."""
        from quack.rmsnorm import rmsnorm_fwd

        normed, summed, inverse_rms = rmsnorm_fwd(x, weight, residual=residual, eps=epsilon, store_rstd=True)
        assert inverse_rms is not None
        return normed, summed, inverse_rms

    def norm_backward(
        self, gradient: Tensor, sum_gradient: Tensor, summed: Tensor, weight: Tensor, inverse_rms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `LayerKernels.norm_backward`. By Transformer Engine, a third faster than quack's."""
        import transformer_engine.pytorch  # noqa: F401  (makes the next module)
        from transformer_engine_torch import rmsnorm_bwd_add

        input_gradient, weight_gradient = rmsnorm_bwd_add(gradient, summed, sum_gradient, inverse_rms, weight, 0, False)
        return input_gradient, weight_gradient

    def gated_product(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `LayerKernels.gated_product`."""
        from quack.gemm_interface import gemm_gated

        how = self._how("gated", x.shape[1])
        gate_up, activation = gemm_gated(x, weight.T, activation="swiglu", concat_layout=("B",), tuned=False, **how)
        return gate_up, activation

    def gated_product_backward(self, gradient: Tensor, weight: Tensor, gate_up: Tensor) -> tuple[Tensor, Tensor]:
        """See `LayerKernels.gated_product_backward`."""
        from quack.gemm_interface import gemm_dgated

        how = self._how("gated backward", weight.shape[0])
        gate_up_gradient, activation = gemm_dgated(gradient, weight, gate_up, activation="swiglu", tuned=False, **how)
        return gate_up_gradient, activation

    def product_and_sum(self, x: Tensor, weight: Tensor, addend: Tensor) -> Tensor:
        """See `LayerKernels.product_and_sum`."""
        out = torch.empty_like(addend)
        self._multiply("sum", x, weight.T, out, addend)
        return out

    def gate_up_to_input(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """See `LayerKernels.gate_up_to_input`."""
        out = gradient.new_empty(gradient.shape[0], weight.shape[1])
        self._multiply("to input", gradient, weight, out, concat_layout=("B",))
        return out

    def add_gate_up_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        """See `LayerKernels.add_gate_up_gradient`."""
        self._multiply("to weight", gradient.T, x, main_grad, concat_layout=("C", "out"), add_to_output=True)

    def add_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        """See `LayerKernels.add_gradient`."""
        from megatron_recipe.wgrad_fusion import add_weight_gradient

        add_weight_gradient(x, gradient, main_grad)

    def _multiply(
        self, product: Product, left: Tensor, right: Tensor, out: Tensor, addend: Tensor | None = None, **layout: Any
    ) -> None:
        """out = left · right + addend, or out += left · right."""
        from quack.gemm_interface import gemm_tuned

        # what quack's `gemm`, `gemm_add` and `gemm_add_inplace` call, which take no tiles
        gemm_tuned.fn(left, right, out, addend, **self._how(product, right.shape[1]), **layout)

    def _how(self, product: Product, width: int) -> dict[str, Any]:
        """quack's arguments for tiles; on cards of another kind than the tiles are for, its own choice."""
        tiles = self.tiles(product, width)
        if torch.cuda.get_device_capability()[0] != HOPPER:
            return {"dynamic_scheduler": tiles.in_turn}
        return {"config": _quacks_name(tiles), "dynamic_scheduler": tiles.in_turn}


@cache
def _quacks_name(tiles: Tiles) -> Any:
    """The GemmConfig of tiles, one object for equal ones that is never freed.

    quack 0.6.5 remembers what it has compiled for a product by the object's address, and would take a kernel of other
    tiles for a new object that lies where an old one lay.
    """
    from quack.gemm_config import GemmConfig

    return GemmConfig(
        tile_m=tiles.rows,
        tile_n=tiles.columns,
        pingpong=tiles.ping_pong,
        cluster_m=tiles.cluster[0],
        cluster_n=tiles.cluster[1],
        is_dynamic_persistent=False,
        device_capacity=HOPPER,
    )
