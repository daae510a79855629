"""Keep the padding of the vocabulary out of the loss.

Megatron pads the vocabulary with rows that stand for no token, and its softmax runs over them like over tokens. So the
loss is too high as long as they have not been trained away (by ln(512 / 500) at the start of a vocabulary of 500), and
other than that of the exported model, which has no such rows. Here their logits are lowered until softmax makes
nothing of them. Only their columns are written; a vocabulary without padding costs nothing.
"""

from typing import Any

import torch
from megatron.core import parallel_state
from torch import Tensor


class _LeftOut(torch.autograd.Function):
    """Writes the columns from `first` on in place. Their gradient is softmax's, zero, so the backward pass is free."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, first: int) -> Tensor:
        ctx.mark_dirty(logits)
        # not -inf, from which the parallel softmax would make NaN on a rank that holds nothing else
        logits[..., first:] = torch.finfo(logits.dtype).min
        return logits

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def leave_padding_out(gpt: Any, vocab_size: int) -> None:
    """Lower the logits of a GPTModel's rows from `vocab_size` (the one without padding) on; other stages have none."""
    if not gpt.post_process:
        return
    rows = gpt.vocab_size // parallel_state.get_tensor_model_parallel_world_size()
    first = max(0, vocab_size - rows * parallel_state.get_tensor_model_parallel_rank())
    if first >= rows:
        return

    def lower(_module: Any, _inputs: Any, output: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
        logits, bias = output
        return _LeftOut.apply(logits, first), bias

    gpt.output_layer.register_forward_hook(lower)
