"""The kernels that a fused layer is made of: what each computes, and quack's on Hopper cards and newer.

quack (https://github.com/Dao-AILab/quack) writes the SwiGLU and the residual addition into the matrix products that
surround them, and the residual addition into the norm. With Megatron's modules each of them is a pass of its own over
the activations: a fifth of a step's time outside the products.
"""

from typing import Protocol

from torch import Tensor


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
    """quack's kernels, written for sm_90 and up, and Transformer Engine's product for the plain weight gradient.

    gate_up has a gate and its up beside each other, so that one thread holds both; `concat_layout` reads and writes
    weights that have all gates first, as Megatron's do.

    times_tiles: choose each product's tiles by timing them at the first call of a shape. That takes several copies of
    what it is called with and, without room for them, adds to gradients again and again: for benchmarks.
    """

    def __init__(self, *, times_tiles: bool = False) -> None:
        self.times_tiles = times_tiles

    def norm(self, x: Tensor, weight: Tensor, residual: Tensor | None, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        """See `LayerKernels.norm`."""
        from quack.rmsnorm import rmsnorm_fwd

        normed, summed, inverse_rms = rmsnorm_fwd(x, weight, residual=residual, eps=epsilon, store_rstd=True)
        assert inverse_rms is not None
        return normed, summed, inverse_rms

    def norm_backward(
        self, gradient: Tensor, sum_gradient: Tensor, summed: Tensor, weight: Tensor, inverse_rms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """See `LayerKernels.norm_backward`."""
        from quack.rmsnorm import rmsnorm_bwd

        input_gradient, weight_gradient, _bias, _residual = rmsnorm_bwd(
            summed, weight, gradient, inverse_rms, dresidual_out=sum_gradient, has_residual=True
        )
        assert weight_gradient is not None
        return input_gradient, weight_gradient

    def gated_product(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """See `LayerKernels.gated_product`."""
        from quack.gemm_interface import gemm_gated

        gate_up, activation = gemm_gated(x, weight.T, activation="swiglu", concat_layout=("B",), tuned=self.times_tiles)
        return gate_up, activation

    def gated_product_backward(self, gradient: Tensor, weight: Tensor, gate_up: Tensor) -> tuple[Tensor, Tensor]:
        """See `LayerKernels.gated_product_backward`."""
        from quack.gemm_interface import gemm_dgated

        gate_up_gradient, activation = gemm_dgated(
            gradient, weight, gate_up, activation="swiglu", tuned=self.times_tiles
        )
        return gate_up_gradient, activation

    def product_and_sum(self, x: Tensor, weight: Tensor, addend: Tensor) -> Tensor:
        """See `LayerKernels.product_and_sum`."""
        from quack.gemm_interface import gemm_add

        return gemm_add(x, weight.T, addend, tuned=self.times_tiles)

    def gate_up_to_input(self, gradient: Tensor, weight: Tensor) -> Tensor:
        """See `LayerKernels.gate_up_to_input`."""
        from quack.gemm_interface import gemm

        product = gemm(gradient, weight, dynamic_scheduler=True, concat_layout=("B",), tuned=self.times_tiles)
        assert isinstance(product, Tensor)
        return product

    def add_gate_up_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        """See `LayerKernels.add_gate_up_gradient`."""
        from quack.gemm_interface import gemm_add_inplace

        gemm_add_inplace(
            gradient.T, x, main_grad, dynamic_scheduler=True, concat_layout=("C", "out"), tuned=self.times_tiles
        )

    def add_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        """See `LayerKernels.add_gradient`."""
        from megatron_recipe.wgrad_fusion import add_weight_gradient

        add_weight_gradient(x, gradient, main_grad)
