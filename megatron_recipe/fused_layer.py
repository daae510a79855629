"""A transformer layer whose element-wise work happens inside the matrix products and the norms beside it.

Parameters, their names in checkpoints and their initial values are those of Megatron's layer: only the way from input
to output differs. Attention stays Megatron's and Transformer Engine's. For BF16 and FP16 weights on ranks that hold
whole matrices; FP8 has fusions of its own in Transformer Engine.
"""

from functools import partial
from typing import Any

import torch
from megatron.core.models.backends import BackendSpecProvider
from megatron.core.transformer.attention import SelfAttention, SelfAttentionSubmodules
from megatron.core.transformer.enums import AttnMaskType
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.mlp import MLP, MLPSubmodules
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from megatron.core.transformer.transformer_layer import TransformerLayer, TransformerLayerSubmodules
from torch import Tensor

from megatron_recipe.layer_kernels import LayerKernels


def fused_layer_spec(backend: BackendSpecProvider, kernels: LayerKernels, *, qk_norm: bool) -> ModuleSpec:
    """Megatron's specification of a GPT layer of `FusedLayer`.

    backend: which linear layers and which attention hold the parameters and attend, Transformer Engine's or Megatron's.
    """
    norm = partial(ResidualRMSNorm, kernels=kernels)
    head_norm = backend.layer_norm(rms_norm=True, for_qk=True) if qk_norm else IdentityOp
    attention = SelfAttentionSubmodules(
        linear_qkv=backend.column_parallel_linear(),
        core_attention=backend.core_attention(),
        linear_proj=backend.row_parallel_linear(),
        q_layernorm=head_norm,
        k_layernorm=head_norm,
    )
    feed_forward = MLPSubmodules(linear_fc1=backend.column_parallel_linear(), linear_fc2=backend.row_parallel_linear())
    return ModuleSpec(
        module=FusedLayer,
        submodules=TransformerLayerSubmodules(
            input_layernorm=norm,
            self_attention=ModuleSpec(
                module=SelfAttention, params={"attn_mask_type": AttnMaskType.causal}, submodules=attention
            ),
            pre_mlp_layernorm=norm,
            mlp=partial(FusedFeedForward.build, kernels=kernels, submodules=feed_forward),
            # a checkpoint has the norms where Transformer Engine's layer has them
            sharded_state_dict_keys_map={
                "input_layernorm.": "self_attention.linear_qkv.layer_norm_",
                "pre_mlp_layernorm.": "mlp.linear_fc1.layer_norm_",
            },
        ),
    )


class FusedLayer(TransformerLayer):
    """Megatron's layer without residual additions of their own: the norms and the last product make them."""

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, None]:
        """One layer. hidden_states: [length, batch, hidden]; the rest as Megatron's block gives it to attention.

        Returns the same shape, and no context: that is of encoders.
        """
        attention_inputs = ("attention_mask", "rotary_pos_emb", "packed_seq_params", "sequence_len_offset")
        normed, residual = self.input_layernorm(hidden_states)
        attended, _bias = self.self_attention(normed, **{name: kwargs.get(name) for name in attention_inputs})
        normed, residual = self.pre_mlp_layernorm(attended, residual)
        return self.mlp(normed, residual), None


class ResidualRMSNorm(torch.nn.Module):
    """RMSNorm of a sum, which gives the sum too."""

    def __init__(
        self, config: TransformerConfig, hidden_size: int, eps: float = 1e-5, *, kernels: LayerKernels, **_: Any
    ) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(hidden_size, dtype=config.params_dtype))
        self.epsilon = eps
        self.kernels = kernels

    def forward(self, x: Tensor, residual: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Norm and sum of x and residual, each [length, batch, hidden]; without a residual the sum is x."""
        return norm_of_sum(x, residual, self.weight, self.epsilon, self.kernels)


class FusedFeedForward(MLP):
    """Megatron's SwiGLU feed-forward and the residual addition behind it, in two products."""

    kernels: LayerKernels

    @classmethod
    def build(
        cls,
        config: TransformerConfig,
        pg_collection: Any,
        *,
        kernels: LayerKernels,
        submodules: MLPSubmodules,
        name: str | None = None,
        **_: Any,
    ) -> "FusedFeedForward":
        """As Megatron's layer builds its feed-forward."""
        feed_forward = cls(
            config, submodules, ffn_hidden_size=config.ffn_hidden_size, tp_group=pg_collection.tp, name=name
        )
        feed_forward.kernels = kernels
        return feed_forward

    def forward(self, hidden_states: Tensor, residual: Tensor, **_: Any) -> Tensor:
        """Feed forward and add. Both and the result: [length, batch, hidden]."""
        for linear in (self.linear_fc1, self.linear_fc2):
            # The modules only hold the weights. Their hooks wait for weights that are still gathered.
            for hook in linear._forward_pre_hooks.values():
                hook(linear, ())
        return feed_forward(hidden_states, residual, self.linear_fc1.weight, self.linear_fc2.weight, self.kernels)


def norm_of_sum(
    x: Tensor, residual: Tensor | None, weight: Tensor, epsilon: float, kernels: LayerKernels
) -> tuple[Tensor, Tensor]:
    """RMSNorm of x + residual, and that sum. All but the weight: [length, batch, hidden]."""
    normed, summed = _Norm.apply(x, residual, weight, epsilon, kernels)
    return normed, summed


def feed_forward(x: Tensor, residual: Tensor, up: Tensor, down: Tensor, kernels: LayerKernels) -> Tensor:
    """SwiGLU between two products, plus the residual. x, residual and the result: [length, batch, hidden].

    up, down: [2 × ffn, hidden] and [hidden, ffn], each with the `main_grad` that its gradient is added to.
    """
    output: Tensor = _FeedForward.apply(x, residual, up, down, kernels)
    return output


class _Norm(torch.autograd.Function):
    """`LayerKernels.norm` with its gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor | None, weight: Tensor, epsilon: float, kernels: LayerKernels
    ) -> tuple[Tensor, Tensor]:
        other = None if residual is None else _rows(residual)
        normed, summed, inverse_rms = kernels.norm(_rows(x), weight, other, epsilon)
        ctx.save_for_backward(summed, weight, inverse_rms)
        ctx.kernels, ctx.has_residual = kernels, residual is not None
        # without a residual the kernel hands x back: autograd wants a view that is new
        return normed.view_as(x), (x.view_as(x) if residual is None else summed.view_as(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        gradient, sum_gradient = gradients
        summed, weight, inverse_rms = ctx.saved_tensors
        input_gradient, weight_gradient = ctx.kernels.norm_backward(
            _rows(gradient), _rows(sum_gradient), summed, weight, inverse_rms
        )
        input_gradient = input_gradient.view_as(gradient)
        return input_gradient, input_gradient if ctx.has_residual else None, weight_gradient, None, None


class _FeedForward(torch.autograd.Function):
    """Both products with the SwiGLU between them. The activation is not kept: the backward pass has it for nothing."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, up: Tensor, down: Tensor, kernels: LayerKernels) -> Tensor:
        rows = _rows(x)
        gate_up, activation = kernels.gated_product(rows, up)
        output = kernels.product_and_sum(activation, down, _rows(residual))
        ctx.save_for_backward(rows, gate_up)
        # as attributes: saved tensors would be new ones, without the parameters' gradient buffers
        ctx.up, ctx.down, ctx.kernels = up, down, kernels
        return output.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        kernels, up, down = ctx.kernels, ctx.up, ctx.down
        x, gate_up = ctx.saved_tensors
        rows = _rows(gradient)
        gate_up_gradient, activation = kernels.gated_product_backward(rows, down, gate_up)
        del gate_up
        down_gradient = _add_to_main_grad(down, kernels.add_gradient, activation, rows)
        del activation
        input_gradient = kernels.gate_up_to_input(gate_up_gradient, up)
        up_gradient = _add_to_main_grad(up, kernels.add_gate_up_gradient, x, gate_up_gradient)
        return input_gradient.view_as(gradient), gradient, up_gradient, down_gradient, None


def _add_to_main_grad(weight: Any, add: Any, x: Tensor, gradient: Tensor) -> Tensor:
    """Add a weight's gradient to the buffer that Megatron's optimizer reads.

    Returns what autograd is given for it: DistributedDataParallel waits for a gradient, whose values it does not read.
    """
    add(x, gradient, weight.main_grad)
    weight.grad_added_to_main_grad = True
    return torch.empty_like(weight)


def _rows(tensor: Tensor) -> Tensor:
    """[length, batch, width] as one row for each token."""
    return tensor.contiguous().view(-1, tensor.shape[-1])
