"""A layer with Transformer Engine's fused FP8 feed-forward, its scaling history in checkpoints. Needs that package.

Megatron's `TEFusedMLP` holds the weights in linear modules and computes with operations, in which SwiGLU and the
rounding of its result to FP8 are one pass. The history of maxima that FP8 scales by is then the operations', which
Megatron does not save: a continued run would begin it anew, with values that overflow. Here the linear modules give
their operation's history for their own.
"""

from collections.abc import Callable
from typing import Any

import torch
from megatron.core.extensions.transformer_engine import TEFusedMLP, TELayerNormColumnParallelLinear, TERowParallelLinear
from megatron.core.fp8_utils import get_fp8_context
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_with_transformer_engine_spec
from megatron.core.transformer.mlp import MLPSubmodules
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer
from torch import Tensor
from transformer_engine.pytorch.fp8 import FP8GlobalStateManager

FIRST_PRODUCT, SECOND_PRODUCT = 0, 1


class _SavesItsOperation(torch.nn.Module):
    """A linear module whose FP8 state is that of the operation which computes in its place."""

    config: TransformerConfig
    operation: Callable[[], Any]
    """Set by the feed-forward that owns both."""

    def get_extra_state(self) -> Tensor:
        """The operation's scales and history as bytes."""
        state: Tensor = self.operation().get_extra_state()
        return state

    def set_extra_state(self, state: Tensor) -> None:
        """Give them to the operation, which passes over those of a checkpoint that was saved without fusion.

        The operation's own state is made before, in Megatron's FP8 context. Transformer Engine would make it in one
        that names no group of ranks: it would then sum up maxima over all of them, and pipeline stages, which wait for
        one another elsewhere, would never meet there.
        """
        operation = self.operation()
        if state is not None and state.numel():
            with torch.no_grad(), get_fp8_context(self.config):  # without gradients nothing is reduced at its end
                operation.reset_recipe_state(recipe=FP8GlobalStateManager.get_fp8_recipe())
        operation.set_extra_state(state)


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

    def forward(self, hidden_states: Tensor, **_: Any) -> Tensor:
        """Feed forward and add. Input and result: [length, batch, hidden]."""
        if self._fused_impl is None:
            self._fused_impl = (self._make_fused_impl(),)
        output, residual = self._fused_impl[0](hidden_states)
        return output + residual

    def _register_hooks_on_fused_impl(self, fused_impl: Any) -> None:
        from transformer_engine.pytorch.ops import MakeExtraOutput

        # The input comes out once more, as the residual: the norm's backward kernel then adds the residual's gradient.
        fused_impl.insert(0, MakeExtraOutput())
        super()._register_hooks_on_fused_impl(fused_impl)

    def product(self, index: int) -> Any:
        """The operation of the first or the second product."""
        from transformer_engine.pytorch.ops import BasicLinear

        if self._fused_impl is None:  # a checkpoint is loaded before the first step
            self._fused_impl = (self._make_fused_impl(),)
        return [operation for operation in self._fused_impl[0].modules() if isinstance(operation, BasicLinear)][index]


class FP8Layer(TransformerLayer):
    """Megatron's layer around this feed-forward, which makes the second residual addition."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
        """One layer. hidden_states: [length, batch, hidden]; the rest as Megatron's block gives it to attention.

        Returns the same shape, and no context: that is of encoders.
        """
        attention_inputs = ("attention_mask", "rotary_pos_emb", "packed_seq_params", "sequence_len_offset")
        attended, _bias = self.self_attention(hidden_states, **{name: kwargs.get(name) for name in attention_inputs})
        return self.mlp(hidden_states + attended), None


def fused_fp8_spec(*, qk_norm: bool) -> ModuleSpec:
    """Megatron's specification of a GPT layer of `FP8Layer`."""
    layer = get_gpt_layer_with_transformer_engine_spec(qk_layernorm=qk_norm, use_te_op_fuser=True)
    layer.module = FP8Layer
    submodules: Any = layer.submodules
    builder = submodules.mlp
    assert builder.func == TEFusedMLP.as_mlp_submodule, builder
    linears = MLPSubmodules(linear_fc1=FirstLinear, linear_fc2=SecondLinear)
    submodules.mlp = type(builder)(FP8FeedForward.as_mlp_submodule, submodules=linears)
    return layer
