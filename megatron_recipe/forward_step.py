"""A batch through the model to its masked loss, in the form that Megatron's schedules call."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.utils import get_batch_on_this_cp_rank
from torch import Tensor

from megatron_recipe.data import Batch
from megatron_recipe.document_mask import block_causal_mask, lay_end_to_end
from megatron_recipe.model import transformer_engine_is_there

LossFunction = Callable[[Tensor], tuple[Tensor, Tensor, dict[str, Tensor]]]


def forward_step(batches: Iterator[Batch], model: Any) -> tuple[Tensor, LossFunction]:
    """Run one micro-batch. Returns the model's output and the function that makes a loss of it.

    On the last pipeline stage the output is the loss of each token in nats: [micro_batch, length], this rank's part of
    the length with context parallelism, [1, micro_batch × length] where documents are masked on a GPU.
    """
    batch = next(batches)
    mask = documents = None  # then attention is causal, in the kernel
    if "cu_seqlens" in batch:
        if transformer_engine_is_there():
            batch, documents = lay_end_to_end(batch)
        else:
            mask = block_causal_mask(batch)
    elif parallel_state.get_context_parallel_world_size() > 1:
        group = parallel_state.get_context_parallel_group()
        # it writes into the dictionary, which interleaved stages share
        batch = get_batch_on_this_cp_rank(dict(batch), is_hybrid_cp=False, cp_group=group)
    output = model(
        batch["tokens"],
        batch["position_ids"],
        attention_mask=mask,
        labels=batch["labels"],
        packed_seq_params=documents,
    )
    return output, partial(masked_loss, batch["loss_mask"])


def masked_loss(mask: Tensor, token_losses: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Sum of the unmasked losses, their number, and both for the log.

    Megatron divides the gradient by the tokens of the global batch. It divides the loss in place, hence the copy.
    """
    losses = token_losses.float() * mask
    total = losses.sum()
    tokens = mask.sum()
    return total, tokens.to(torch.int), {"loss": torch.stack([total.detach().clone(), tokens])}
