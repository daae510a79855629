"""A recipe's model and optimizer in a bare loop: random tokens, no logging, no guard, no validation, no checkpoints.

`benchmarks.step_profile` looks into its steps, and `benchmarks.train --bare` compares the trainer's with them.
"""

import torch
from megatron.core.pipeline_parallel import get_forward_backward_func

from benchmarks.step_times import random_batches
from megatron_recipe import optimizer as optimizers
from megatron_recipe import parallel
from megatron_recipe.config import Config
from megatron_recipe.document_mask import schedule_shape
from megatron_recipe.forward_step import forward_step
from megatron_recipe.model import build_model


class BareLoop:
    """Our model, optimizer and schedule, as a run builds them. Needs `parallel.process_groups` around it.

    config: with a micro-batch in numbers. vocab_size: the tokenizer's, before padding.
    """

    def __init__(self, config: Config, vocab_size: int, device: torch.device) -> None:
        parallel.seed_everything(config.train.seed)
        self.config, self.device = config, device
        self.micro_batch = config.batch.micro_batch
        self.count = config.batch.global_batch_size_samples // self.micro_batch
        self.tokens = self.count * self.micro_batch * config.model.sequence_length_tokens
        self.model = build_model(config, vocab_size, device)
        self.optimizer = optimizers.build_optimizer(config, self.model)
        self.scheduler = optimizers.build_scheduler(config, self.optimizer)
        self.batches = random_batches(self.micro_batch, config.model.sequence_length_tokens, vocab_size, device)
        self.loss: torch.Tensor | None = None

    def step(self) -> None:
        """Forward and backward of all micro-batches, clipping, update."""
        for chunk in self.model:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        losses = get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=self.batches,
            model=self.model,
            num_microbatches=self.count,
            **schedule_shape(self.config),
            forward_only=False,
        )
        self.scheduler.step(increment=self.count * self.micro_batch)
        self.optimizer.step()
        total, tokens = losses[-1]["loss"]
        self.loss = total / tokens
