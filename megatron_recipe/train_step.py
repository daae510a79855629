"""One optimizer step: micro-batches forward and backward, gradients reduced, judged and clipped, weights updated."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer.clip_grads import clip_grad_by_total_norm_fp32
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch import Tensor

from megatron_recipe.batch_schedule import batch_size_at
from megatron_recipe.checkpoint import Training
from megatron_recipe.config import Config, SampleRange
from megatron_recipe.data import Batch
from megatron_recipe.document_mask import schedule_shape
from megatron_recipe.optimizer import parts
from megatron_recipe.parallel import Ranks
from megatron_recipe.sample_order import advance
from megatron_recipe.stability import Guard, Verdict
from megatron_recipe.stragglers import ForwardStep
from megatron_recipe.validate_loss import data_iterators, reduce_losses


@dataclass(frozen=True)
class StepResult:
    """What a step left to look at; equal on all ranks."""

    loss: float
    """Mean over the step's tokens, nats."""
    grad_norm: float
    """Before clipping."""
    learning_rate: float
    updated: bool
    """False where the guard or the loss scaler left out the update."""
    verdict: Verdict


def train_step(
    training: Training,
    batches: Iterator[Batch],
    forward_step: ForwardStep,
    guard: Guard,
    skips: list[SampleRange],
    config: Config,
    ranks: Ranks,
    share: float | None = None,
) -> StepResult:
    """Take the next global batch from `batches` and advance the model, the schedule and the run's counters.

    forward_step: as `forward_step.forward_step`, which an observer may have wrapped.
    share: of the budget that is spent; None lets the schedule follow the samples.
    """
    state = training.state
    for chunk in training.model:
        chunk.zero_grad_buffer()
    training.optimizer.zero_grad()
    samples = batch_size_at(config.batch, state.step)
    count = samples // (config.batch.micro_batch * ranks.data_size)
    losses = get_forward_backward_func()(
        forward_step_func=forward_step,
        data_iterator=data_iterators(itertools.islice(batches, count), training.model),
        model=training.model,
        num_microbatches=count,
        **schedule_shape(config),
        forward_only=False,
    )
    totals = reduce_losses(losses, ranks.device)
    set_learning_rate(training, samples, share)  # before the update: the first step's rate is not 0
    updated, loss, grad_norm, verdict = update(training.optimizer, config, guard, training, totals)
    state.step += 1
    state.samples += samples
    state.position = advance(state.position, samples, skips)
    state.tokens += samples * config.model.sequence_length_tokens
    learning_rate = training.optimizer.param_groups[0]["lr"]
    return StepResult(loss, grad_norm, learning_rate, updated, verdict)


def set_learning_rate(training: Training, samples: int, share: float | None) -> None:
    """Advance the schedule by the step's samples, or put it where the budget stands."""
    if share is None:
        training.scheduler.step(increment=samples)
    else:
        training.scheduler.num_steps = round(share * training.scheduler.lr_decay_steps)
        training.scheduler.step(increment=0)


def update(
    optimizer: MegatronOptimizer, config: Config, guard: Guard, training: Training, totals: Tensor
) -> tuple[bool, float, float, Verdict]:
    """Whether the weights were updated, the loss, the gradient norm, and what the guard said.

    The steps of Megatron's own ChainedOptimizer.step (megatron/core/optimizer/optimizer.py), with the judgement between
    the gradient norm and the update. To read a number waits for the GPU, so the loss is read when the norm has been:
    the GPU is never without work while the norm's kernels are being started.

    totals: [2], sum of the step's token losses and their number, over all ranks.
    """
    overflow = optimizer.prepare_grads()
    grad_norm = math.nan if overflow else float(optimizer.get_grad_norm())
    loss_sum, tokens = totals.tolist()
    loss = loss_sum / tokens
    if overflow and math.isfinite(loss):
        return False, loss, math.inf, Verdict("go")  # the scaler of FP16 lowers its scale: that is no accident
    verdict = guard.judge(training.state, loss, grad_norm)
    if overflow or not verdict.updates:
        return False, loss, grad_norm, verdict
    if config.optimizer.clip_grad_norm > 0:
        for part in parts(optimizer):
            if parameters := part.get_parameters():
                clip_grad_by_total_norm_fp32(
                    parameters,
                    config.optimizer.clip_grad_norm,
                    grad_norm,
                    # rounded states have gradients of another type than the weights, under another name
                    use_decoupled_grad=part.config.use_precision_aware_optimizer_no_fp8_or_ds_fp8,
                )
    return bool(optimizer.step_with_ready_grads()), loss, grad_norm, verdict
