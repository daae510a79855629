"""Optimizer steps on fixed random tokens inside the test's process: no dataset, no run folder, no command."""

from pathlib import Path

import torch
from megatron.core import dist_checkpointing
from megatron.core.pipeline_parallel import get_forward_backward_func
from small_runs import MODEL

from megatron_recipe import model, optimizer, overlap, parallel
from megatron_recipe.checkpoint import Training
from megatron_recipe.config import Config
from megatron_recipe.forward_step import forward_step
from megatron_recipe.recipes import load_config
from megatron_recipe.run_state import RunState
from megatron_recipe.validate_loss import data_iterators, reduce_losses

VOCAB, BATCH, MICRO_BATCH = 256, 8, 2


def small_config(*overrides: str) -> Config:
    """The small model of the tests, to be trained for 20 steps."""
    return load_config(
        "gpt_tiny_cpu",
        (
            *MODEL,
            f"batch.global_batch_size_samples={BATCH}",
            f"batch.micro_batch_size_samples={MICRO_BATCH}",
            "train.steps=20",
            *overrides,
        ),
    )


class DirectRun:
    """A model with its optimizer and schedule, and steps on random tokens that depend on the step's number alone.

    data_rank, data_size: which micro-batches of a step are this process's.
    """

    def __init__(self, config: Config, device: str = "cpu", data_rank: int = 0, data_size: int = 1) -> None:
        self.config = config
        self.device = torch.device(device)
        parallel.seed_everything(config.train.seed)  # on a GPU weights come from Megatron's own generator
        self.model = model.build_model(config, VOCAB, self.device)
        self.optimizer = optimizer.build_optimizer(config, self.model)
        self.scheduler = optimizer.build_scheduler(config, self.optimizer)
        self.share = (data_rank, data_size)
        self.done = 0

    def micro_batches(self, step: int) -> list[dict[str, torch.Tensor]]:
        """This process's tokens of a step."""
        length = self.config.model.sequence_length_tokens
        generator = torch.Generator().manual_seed(step)
        tokens = torch.randint(0, VOCAB, (BATCH, length + 1), generator=generator)
        tokens[:, 1::2] = (tokens[:, :-1:2] * 3 + 1)[:, : tokens[:, 1::2].shape[1]] % VOCAB  # half can be learned
        position = torch.arange(length).expand(MICRO_BATCH, -1)
        rank, size = self.share
        return [
            {
                "tokens": rows[:, :-1].to(self.device),
                "labels": rows[:, 1:].to(self.device),
                "position_ids": position.to(self.device),
                "loss_mask": torch.ones(MICRO_BATCH, length, device=self.device),
            }
            for rows in tokens.split(MICRO_BATCH)[rank::size]
        ]

    def backward(self, forward_only: bool = False) -> float:
        """Forward and backward of the next step's micro-batches; returns their mean loss, equal on all ranks."""
        batches = self.micro_batches(self.done)
        for chunk in self.model:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        losses = get_forward_backward_func()(
            forward_step_func=forward_step,
            data_iterator=data_iterators(iter(batches), self.model),
            model=self.model,
            num_microbatches=len(batches),
            seq_length=self.config.model.sequence_length_tokens,
            micro_batch_size=MICRO_BATCH,
            forward_only=forward_only,
        )
        total, tokens = reduce_losses(losses, self.device)
        return float(total / tokens)

    def gradients(self) -> dict[str, torch.Tensor]:
        """The summed gradients of all weights, by name."""
        return {
            f"{index}.{name}": parameter.main_grad.detach().float().clone()
            for index, chunk in enumerate(self.model)
            for name, parameter in chunk.named_parameters()
        }

    def weights(self) -> dict[str, torch.Tensor]:
        """Copies of all weights, by name."""
        return {
            f"{index}.{name}": parameter.detach().clone()
            for index, chunk in enumerate(self.model)
            for name, parameter in chunk.named_parameters()
        }

    def step(self) -> tuple[float, float]:
        """One whole step. Returns its mean loss and gradient norm; the norm is NaN where the update was skipped."""
        loss = self.backward()
        self.scheduler.step(increment=BATCH)
        updated, norm, _ = self.optimizer.step()
        self.done += 1
        return loss, float(norm) if updated else float("nan")

    def steps(self, count: int) -> list[tuple[float, float]]:
        """Several steps."""
        return [self.step() for _ in range(count)]

    @property
    def training(self) -> Training:
        """The parts that a checkpoint holds."""
        return Training(self.model, self.optimizer, self.scheduler, RunState())

    def save(self, folder: Path) -> None:
        """Write a checkpoint into a new folder."""
        folder.mkdir()
        self.write(folder)

    def write(self, folder: Path) -> None:
        """Write a checkpoint into a folder that is there; all ranks call it."""
        with overlap.parameters_in_place(self.model):
            dist_checkpointing.save(self.training.sharded_state(is_loading=False), str(folder))

    def load(self, folder: Path, done: int) -> None:
        """Load it as a start does, into a fresh model and optimizer; `done` steps were taken before."""
        self.backward()  # something other than zeros lies in the gradients
        self.training.load_state(dist_checkpointing.load(self.training.sharded_state(is_loading=True), str(folder)))
        self.done = done
