"""The kernels of a fused layer in plain torch, with gate and up beside each other as quack has them."""

import torch
from torch import Tensor


def interleaved(concatenated: Tensor, dim: int) -> Tensor:
    """All gates first → a gate and its up beside each other."""
    return torch.stack(concatenated.chunk(2, dim), dim + 1).flatten(dim, dim + 1)


def concatenated(interleaved: Tensor) -> Tensor:
    """Rows of a gate and its up beside each other → all gates first."""
    return interleaved.unflatten(0, (-1, 2)).transpose(0, 1).flatten(0, 1)


class TorchKernels:
    """See `layer_kernels.LayerKernels`."""

    def norm(self, x: Tensor, weight: Tensor, residual: Tensor | None, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        summed = x if residual is None else x + residual
        inverse_rms = (summed.float().square().mean(-1) + epsilon).rsqrt()
        return (summed * inverse_rms[:, None] * weight).to(x.dtype), summed, inverse_rms

    def norm_backward(
        self, gradient: Tensor, sum_gradient: Tensor, summed: Tensor, weight: Tensor, inverse_rms: Tensor
    ) -> tuple[Tensor, Tensor]:
        unit = summed * inverse_rms[:, None]
        scaled = gradient * weight
        input_gradient = inverse_rms[:, None] * (scaled - unit * (scaled * unit).mean(-1, keepdim=True))
        return input_gradient + sum_gradient, (gradient * unit).sum(0)

    def gated_product(self, x: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        gate_up = x @ interleaved(weight, 0).T
        return gate_up, torch.nn.functional.silu(gate_up[:, ::2]) * gate_up[:, 1::2]

    def gated_product_backward(self, gradient: Tensor, weight: Tensor, gate_up: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = gate_up[:, ::2], gate_up[:, 1::2]
        share = gate.sigmoid()
        activation_gradient = gradient @ weight
        gate_gradient = activation_gradient * up * share * (1 + gate * (1 - share))
        up_gradient = activation_gradient * gate * share
        return torch.stack([gate_gradient, up_gradient], -1).flatten(1), gate * share * up

    def product_and_sum(self, x: Tensor, weight: Tensor, addend: Tensor) -> Tensor:
        return x @ weight.T + addend

    def gate_up_to_input(self, gradient: Tensor, weight: Tensor) -> Tensor:
        return gradient @ interleaved(weight, 0)

    def add_gate_up_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        main_grad += concatenated(gradient.T @ x)

    def add_gradient(self, x: Tensor, gradient: Tensor, main_grad: Tensor) -> None:
        main_grad += gradient.T @ x
