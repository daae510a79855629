"""Transformer Engine's fused FP8 feed-forward, with its scaling history in checkpoints. Needs Transformer Engine.

Megatron's `TEFusedMLP` holds the weights in linear modules and computes with operations, in which SwiGLU and the
rounding of its result to FP8 are one pass. The history of maxima that FP8 scales by is then the operations', which
Megatron does not save: a continued run would begin it anew, with values that overflow. Here the linear modules give
their operation's history for their own.
"""

from collections.abc import Callable
from typing import Any

import torch
from megatron.core.extensions.transformer_engine import TEFusedMLP, TELayerNormColumnParallelLinear, TERowParallelLinear
from megatron.core.transformer.mlp import MLPSubmodules
from megatron.core.transformer.spec_utils import ModuleSpec
from torch import Tensor

FIRST_PRODUCT, SECOND_PRODUCT = 0, 1


class _SavesItsOperation(torch.nn.Module):
    """A linear module whose FP8 state is that of the operation which computes in its place."""

    operation: Callable[[], Any]
    """Set by the feed-forward that owns both."""

    def get_extra_state(self) -> Tensor:
        """The operation's scales and history as bytes."""
        state: Tensor = self.operation().get_extra_state()
        return state

    def set_extra_state(self, state: Tensor) -> None:
        """Give them to the operation, which passes over those of a checkpoint that was saved without fusion."""
        self.operation().set_extra_state(state)


class FirstLinear(_SavesItsOperation, TELayerNormColumnParallelLinear):
    """Norm and first product."""


class SecondLinear(_SavesItsOperation, TERowParallelLinear):
    """Second product."""


class FP8FeedForward(TEFusedMLP):
    """Megatron's `TEFusedMLP` whose scaling history is saved and loaded."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.linear_fc1.operation = lambda: self.product(FIRST_PRODUCT)
        self.linear_fc2.operation = lambda: self.product(SECOND_PRODUCT)

    _fused_impl: tuple[Any] | None

    def _make_activation_op(self, activation_func: Any, gated_linear_unit: bool, cache_quantized_input: bool) -> Any:
        """The operation between the products: on a card whose FP8 products want transposes, with one pass for both."""
        needs_transposes = torch.cuda.get_device_capability() < (10, 0)
        if not needs_transposes or cache_quantized_input or activation_func is not torch.nn.functional.silu:
            return super()._make_activation_op(activation_func, gated_linear_unit, cache_quantized_input)
        from megatron_recipe.fp8_swiglu import SwiGLU

        return SwiGLU()

    def product(self, index: int) -> Any:
        """The operation of the first or the second product."""
        from transformer_engine.pytorch.ops import BasicLinear

        if self._fused_impl is None:  # a checkpoint is loaded before the first step
            self._fused_impl = (self._make_fused_impl(),)
        return [operation for operation in self._fused_impl[0].modules() if isinstance(operation, BasicLinear)][index]


def keep_scaling_history(layer: ModuleSpec) -> ModuleSpec:
    """Give a layer's specification this feed-forward. Returns it."""
    submodules: Any = layer.submodules
    builder = submodules.mlp
    assert builder.func == TEFusedMLP.as_mlp_submodule, builder
    linears = MLPSubmodules(linear_fc1=FirstLinear, linear_fc2=SecondLinear)
    submodules.mlp = type(builder)(FP8FeedForward.as_mlp_submodule, submodules=linears)
    return layer
