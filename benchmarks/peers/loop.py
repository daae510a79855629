"""The training loop of a peer: gradient accumulation, clipping, fused AdamW, on random tokens."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from benchmarks.peers.models import Peer
from benchmarks.step_times import random_batches, time_steps
from megatron_recipe.config import Config
from megatron_recipe.console import say
from megatron_recipe.flops import padded_vocab_size

ATTENTION = [SDPBackend.CUDNN_ATTENTION, SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]
"""In the order in which they are tried: cuDNN's is the fastest on Hopper."""


def token_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean loss of a micro-batch, nats."""
    return cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1))


class PeerLoop:
    """A peer's model and optimizer. samples: of a step; `use` changes the micro-batch."""

    def __init__(self, peer: Peer, config: Config, vocab_size: int, samples: int, device: torch.device) -> None:
        self.config, self.vocab_size, self.samples, self.device = config, vocab_size, samples, device
        torch.manual_seed(config.train.seed)
        rows = padded_vocab_size(vocab_size, config.model)
        with device:
            model, blocks = peer.build(config.model, rows)
        self.model = (model.to(torch.bfloat16) if peer.bf16_weights else model).train()
        self.autocast = not peer.bf16_weights
        if peer.compiled == "blocks":
            for block in blocks:
                block.compile(dynamic=False)
        loss_of = torch.compile(token_loss, dynamic=False) if peer.compiled == "blocks" else token_loss

        def forward(tokens: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return loss_of(self.model(tokens), labels)

        self.forward: Any = torch.compile(forward, dynamic=False) if peer.compiled == "whole" else forward
        settings = config.optimizer
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=config.schedule.peak_learning_rate / 10,  # no warm-up here: random tokens want no more
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.micro_batch = self.tokens = 0
        self.batches: Iterator[dict[str, torch.Tensor]] = iter(())
        self.loss: torch.Tensor | None = None

    def use(self, micro_batch: int) -> None:
        """Take this micro-batch from now on."""
        length = self.config.model.sequence_length_tokens
        self.micro_batch, self.tokens = micro_batch, self.samples // micro_batch * micro_batch * length
        self.batches = random_batches(micro_batch, length, self.vocab_size, self.device)

    def precision(self) -> AbstractContextManager[Any]:
        """Autocast, where weights are FP32."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.autocast else nullcontext()

    def step(self) -> None:
        """Forward and backward of all micro-batches, clipping, update."""
        count = self.samples // self.micro_batch
        self.optimizer.zero_grad(set_to_none=True)
        for _ in range(count):
            batch = next(self.batches)
            with self.precision():
                loss = self.forward(batch["tokens"], batch["labels"])
            (loss / count).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_grad_norm)
        self.optimizer.step()
        self.loss = loss.detach()


@contextmanager
def fast_attention(device: torch.device) -> Iterator[None]:
    """torch's attention by cuDNN where it can."""
    with sdpa_kernel(ATTENTION, set_priority=True) if device.type == "cuda" else nullcontext():
        yield


def use_best_micro_batch(loop: PeerLoop, candidates: list[int]) -> dict[int, str]:
    """Take the fastest of the candidates; returns what each gave. Raises the last error where none fits."""
    speeds: dict[int, float] = {}
    said: dict[int, str] = {}
    error: Exception | None = None
    for micro_batch in candidates:
        loop.use(micro_batch)
        try:
            speeds[micro_batch] = time_steps(loop, 2, 1).tokens_per_second
            said[micro_batch] = f"{speeds[micro_batch]:.0f} tokens/s"
        except torch.OutOfMemoryError as failure:
            error, said[micro_batch] = failure.with_traceback(None), "out of memory"
            loop.optimizer.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
        say(f"micro-batch {micro_batch}: {said[micro_batch]}")
    if not speeds:
        assert error is not None, "no micro-batch was given"
        raise error
    loop.use(max(speeds, key=lambda micro_batch: speeds[micro_batch]))
    return said


def plain(peer: Peer) -> Peer:
    """The same without torch.compile."""
    return replace(peer, compiled="none")
