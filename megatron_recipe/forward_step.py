"""A batch through the model to its masked loss, in the form that Megatron's schedules call."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from megatron_recipe.data import Batch

LossFunction = Callable[[Tensor], tuple[Tensor, Tensor, dict[str, Tensor]]]


def forward_step(batches: Iterator[Batch], model: Any) -> tuple[Tensor, LossFunction]:
    """Run one micro-batch. Returns the model's output and the function that makes a loss of it.

    On the last pipeline stage the output is the loss of each token, [micro_batch, length] in nats.
    """
    batch = next(batches)
    output = model(
        batch["tokens"],
        batch["position_ids"],
        attention_mask=None,  # causal, in the kernel
        labels=batch["labels"],
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
