"""What is computed twice to save memory: nothing, the feed-forward's activation, or whole layers.

Megatron's own selective modules don't fit a dense model with Transformer Engine: `mlp` computes nearly all of a layer
again, for less than `full` saves; `layernorm` finds no norm of its own, since Transformer Engine has it in the linear
layer; and both discard outputs through an extension that is compiled at the first backward pass. The activation of a
SwiGLU is the part that is largest for its arithmetic: a fifth of a layer's memory for two element-wise operations.
"""

from typing import Any

import torch
from megatron.core.transformer.mlp import MLP
from megatron.core.transformer.spec_utils import ModuleSpec
from torch import Tensor

from megatron_recipe.config import MemoryConfig


def model_settings(memory: MemoryConfig) -> dict[str, Any]:
    """Fields of Megatron's TransformerConfig."""
    if memory.recompute == "full":
        return {"recompute_granularity": "full", "recompute_method": "uniform", "recompute_num_layers": 1}
    return {}


def use_recomputed_activation(layer: ModuleSpec) -> None:
    """Give a dense layer's spec the feed-forward of this module, with the linear layers that it has."""
    submodules: Any = layer.submodules
    submodules.mlp = _with_class(submodules.mlp)


def _with_class(builder: Any) -> Any:
    """Megatron's builder of a dense MLP is a partial of `MLP.as_mlp_submodule`; the same of the class here."""
    assert builder.func == MLP.as_mlp_submodule, builder
    return type(builder)(RecomputedActivationMLP.as_mlp_submodule, *builder.args, **builder.keywords)


class RecomputedActivationMLP(MLP):
    """Megatron's SwiGLU feed-forward that keeps no activation between the forward and the backward pass.

    The second linear layer saves its input, the activation, for its weight gradient. Its memory is given back after the
    forward pass, and filled again when the gradient of the layer's output arrives, before anything reads it.
    """

    def forward(
        self, hidden_states: Tensor, per_token_scale: Tensor | None = None, **_: Any
    ) -> tuple[Tensor, Tensor | None]:
        """Feed forward. hidden_states: [length, batch, hidden]; no biases. Returns the same shape, and no bias."""
        assert per_token_scale is None, "a scale for each token is for experts"
        gate_and_up, _bias = self.linear_fc1(hidden_states)
        activation = self.activate(gate_and_up)
        output, bias = self.linear_fc2(activation)
        if output.requires_grad:
            output.register_hook(_Refill(self, gate_and_up, activation))
        return output, bias

    def activate(self, gate_and_up: Tensor) -> Tensor:
        """silu(gate) · up, [length, batch, ffn] from [length, batch, 2 × ffn]."""
        if self.config.bias_activation_fusion:
            from megatron.core.fusions.fused_bias_swiglu import bias_swiglu_impl

            return bias_swiglu_impl(gate_and_up, None)
        gate, up = gate_and_up.chunk(2, dim=-1)
        return torch.nn.functional.silu(gate) * up


class _Refill:
    """Empties the activation at once; as the hook of the output's gradient, fills it again."""

    def __init__(self, mlp: RecomputedActivationMLP, gate_and_up: Tensor, activation: Tensor) -> None:
        self.mlp = mlp
        self.parts: tuple[Tensor, torch.UntypedStorage, int] | None = (
            gate_and_up.detach(),
            activation.untyped_storage(),
            activation.untyped_storage().size(),
        )
        activation.untyped_storage().resize_(0)

    def __call__(self, gradient: Tensor) -> None:
        if self.parts is None:
            return
        gate_and_up, storage, size = self.parts
        self.parts = None  # what it holds is free as soon as the backward pass has used it
        storage.resize_(size)
        with torch.no_grad():
            # to the storage, not to the tensor: autograd would take a changed tensor for an error
            storage.copy_(self.mlp.activate(gate_and_up).untyped_storage())
