"""Causal attention by FlashAttention-4 (the package flash-attn-4, for Hopper cards and newer) in Megatron's layout.

Megatron keeps positions before sequences: [length, batch, heads, head_dim]. The kernels take any strides, so nothing is
copied into their order or back, as happens on the way through Transformer Engine. Measured on an H100 at 4,096 tokens:
507 TFLOP/s both ways, cuDNN's 460.
"""

from typing import Any

import torch
from megatron.core.extensions.transformer_engine import TEDotProductAttention
from torch import Tensor


class FlashAttention(TEDotProductAttention):
    """Transformer Engine's attention, with another kernel where every token looks at all before it."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Attend. query: [length, batch, heads, head_dim]; key, value: [length, batch, groups, head_dim].

        Returns [length, batch, heads × head_dim]. A mask is not read: Megatron gives none for causal attention.
        """
        if kwargs.get("packed_seq_params") is not None:  # documents that do not see each other
            packed: Tensor = super().forward(query, key, value, attention_mask, *args, **kwargs)
            return packed
        return causal_attention(query, key, value)


def causal_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """See `FlashAttention.forward`."""
    context: Tensor = _CausalAttention.apply(query, key, value)
    return context


class _CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        from flash_attn.cute.interface import _flash_attn_fwd

        context = query.new_empty(query.shape)
        tensors = (batch_first(tensor) for tensor in (query, key, value))
        _, log_sums, *_ = _flash_attn_fwd(*tensors, causal=True, return_lse=True, out=batch_first(context))
        ctx.save_for_backward(query, key, value, context, log_sums)
        return context.flatten(2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from flash_attn.cute.interface import _flash_attn_bwd

        query, key, value, context, log_sums = ctx.saved_tensors
        gradient = gradients[0].contiguous().view_as(context)
        query_gradient, key_gradient, value_gradient = (one.new_empty(one.shape) for one in (query, key, value))
        _flash_attn_bwd(
            *(batch_first(tensor) for tensor in (query, key, value, context, gradient)),
            log_sums,
            causal=True,
            dq=batch_first(query_gradient),
            dk=batch_first(key_gradient),
            dv=batch_first(value_gradient),
        )
        return query_gradient, key_gradient, value_gradient


def batch_first(tensor: Tensor) -> Tensor:
    """[length, batch, heads, head_dim] as a view in the kernels' order."""
    return tensor.transpose(0, 1)
