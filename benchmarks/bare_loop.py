"""A recipe's model and optimizer in a bare loop: random tokens, no logging, no guard, no validation, no checkpoints.

`benchmarks.step_profile` looks into its steps, `benchmarks.train --bare` compares the trainer's with them, and
`benchmarks.scaling` spreads them over GPUs.
"""

import itertools

import torch
from megatron.core import parallel_state
from megatron.core.pipeline_parallel import get_forward_backward_func

from benchmarks.step_times import random_batches
from megatron_recipe import optimizer as optimizers
from megatron_recipe import parallel
from megatron_recipe.config import Config
from megatron_recipe.document_mask import schedule_shape
from megatron_recipe.forward_step import forward_step
from megatron_recipe.model import build_model
from megatron_recipe.validate_loss import data_iterators, reduce_losses


class BareLoop:
    """Our model, optimizer and schedule, as a run builds them. Needs `parallel.process_groups` around it.

    config: with a micro-batch in numbers. vocab_size: the tokenizer's, before padding. Each data-parallel rank has
    tokens of its own.
    """

    def __init__(self, config: Config, vocab_size: int, device: torch.device) -> None:
        parallel.seed_everything(config.train.seed)
        self.config, self.device = config, device
        self.micro_batch = config.batch.micro_batch
        samples, length = config.batch.global_batch_size_samples, config.model.sequence_length_tokens
        at_once = self.micro_batch * parallel_state.get_data_parallel_world_size()
        self.count = samples // at_once
        self.samples = self.count * at_once
        self.tokens = self.samples * length
        self.model = build_model(config, vocab_size, device)
        self.optimizer = optimizers.build_optimizer(config, self.model)
        self.scheduler = optimizers.build_scheduler(config, self.optimizer)
        generator = torch.Generator(device).manual_seed(parallel_state.get_data_parallel_rank())
        self.batches = random_batches(self.micro_batch, length, vocab_size, device, generator)
        self.loss: torch.Tensor | None = None

    def step(self) -> None:
        """Forward and backward of all micro-batches, clipping, update."""
        for chunk in self.model:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        losses = get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=data_iterators(itertools.islice(self.batches, self.count), self.model),
            model=self.model,
            num_microbatches=self.count,
            **schedule_shape(self.config),
            forward_only=False,
        )
        self.scheduler.step(increment=self.samples)
        self.optimizer.step()
        total, tokens = reduce_losses(losses, self.device)
        self.loss = total / tokens
