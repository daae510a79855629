"""One optimizer step: micro-batches forward and backward, gradients reduced and clipped, weights updated."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from megatron.core.pipeline_parallel import get_forward_backward_func

from megatron_recipe.checkpoint import Training
from megatron_recipe.config import Config
from megatron_recipe.data import Batch
from megatron_recipe.forward_step import forward_step
from megatron_recipe.parallel import Ranks
from megatron_recipe.validate_loss import data_iterators


@dataclass(frozen=True)
class StepResult:
    """What a step left to look at. `losses` stays on the device: reading it waits for the GPU."""

    losses: list[dict[str, torch.Tensor]]
    grad_norm: float
    learning_rate: float
    updated: bool
    """False where the optimizer found an infinite gradient and skipped the update."""


def micro_batches_per_step(config: Config, ranks: Ranks) -> int:
    """Micro-batches of one rank in a step."""
    return config.batch.global_batch_size_samples // (config.batch.micro_batch * ranks.data_size)


def train_step(training: Training, batches: Iterator[Batch], config: Config, ranks: Ranks) -> StepResult:
    """Take the next global batch from `batches` and advance the model, the schedule and the run's counters."""
    for chunk in training.model:
        chunk.zero_grad_buffer()
    training.optimizer.zero_grad()
    count = micro_batches_per_step(config, ranks)
    losses = get_forward_backward_func()(
        forward_step_func=forward_step,
        data_iterator=data_iterators(itertools.islice(batches, count), training.model),
        model=training.model,
        num_microbatches=count,
        seq_length=config.model.sequence_length_tokens,
        micro_batch_size=config.batch.micro_batch,
        forward_only=False,
    )
    samples = config.batch.global_batch_size_samples
    training.scheduler.step(increment=samples)  # before the update: the first step's rate is not 0
    updated, grad_norm, _ = training.optimizer.step()
    training.state.step += 1
    training.state.samples += samples
    training.state.tokens += samples * config.model.sequence_length_tokens
    learning_rate = training.optimizer.param_groups[0]["lr"]
    return StepResult(losses, float(grad_norm or 0.0), learning_rate, bool(updated))
