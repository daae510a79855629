"""Held-out loss during training, on the same samples each time."""

from collections.abc import Iterator
from typing import Any

import torch
from megatron.core.datasets.gpt_dataset import GPTDataset
from megatron.core.distributed import DistributedDataParallel
from megatron.core.pipeline_parallel import get_forward_backward_func

from megatron_recipe import data, parallel
from megatron_recipe.config import Config
from megatron_recipe.forward_step import forward_step


def reduce_losses(outputs: list[dict[str, Any]], device: torch.device) -> torch.Tensor:
    """Loss sum and token count over all micro-batches and ranks, [2]; `outputs` is empty off the last stage."""
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for output in outputs:
        total += output["loss"].double()
    return parallel.sum_over_data_and_pipeline(total)


def data_iterators(batches: Iterator[data.Batch], model: list[Any]) -> Any:
    """What Megatron's schedules want: one iterator, or one for each virtual pipeline stage over the same batches."""
    if len(model) == 1:
        return batches
    kept = list(batches)
    return [iter(kept) for _ in model]


def validation_loss(
    model: list[DistributedDataParallel],
    dataset: GPTDataset | None,
    samples: int,
    config: Config,
    ranks: parallel.Ranks,
) -> float | None:
    """Mean loss in nats a token over the first `samples` held-out samples; None where there are none."""
    at_once = config.batch.micro_batch * ranks.data_size
    samples = samples // at_once * at_once
    if dataset is None or not samples:
        return None
    batches = data.micro_batches(dataset, samples, 0, config, ranks)
    for chunk in model:
        chunk.eval()
    with torch.no_grad():
        outputs = get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=data_iterators(batches, model),
            model=model,
            num_microbatches=samples // at_once,
            seq_length=config.model.sequence_length_tokens,
            micro_batch_size=config.batch.micro_batch,
            forward_only=True,
        )
    for chunk in model:
        chunk.train()
    loss_sum, tokens = reduce_losses(outputs, ranks.device).tolist()
    return loss_sum / tokens
