"""How steps are timed, whoever makes them: the loops that are measured, random tokens for them, intervals, memory.

Without Megatron, so that peers' processes load nothing of it.
"""

import gc
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from megatron_recipe.plan.hardware import GIB


class Loop(Protocol):
    """Something whose steps are measured: ours, or a peer's."""

    device: torch.device
    micro_batch: int
    tokens: int
    """Of a step."""
    loss: torch.Tensor | None
    """Of the last micro-batch, nats; for a look whether it trains."""

    def step(self) -> None:
        """One optimizer step, of all its micro-batches."""


@dataclass(frozen=True)
class Timing:
    """Times of steps and the memory that they took."""

    step_seconds: list[float]
    """Mean of a step in each interval."""
    tokens: int
    peak_gib: float | None
    """torch's allocations; None without a GPU."""

    @property
    def seconds(self) -> float:
        """The median interval's."""
        return statistics.median(self.step_seconds)

    @property
    def tokens_per_second(self) -> float:
        """At the median."""
        return self.tokens / self.seconds

    @property
    def spread(self) -> float:
        """From the fastest to the slowest interval, as a share of the median."""
        return (max(self.step_seconds) - min(self.step_seconds)) / self.seconds


def random_batches(
    micro_batch: int, length: int, vocab_size: int, device: torch.device, generator: torch.Generator | None = None
) -> Iterator[dict[str, Any]]:
    """Micro-batches of random tokens, without end; `generator` is on the device, None takes torch's own."""
    positions = torch.arange(length, device=device).expand(micro_batch, -1)
    while True:
        tokens = torch.randint(0, vocab_size, (micro_batch, length + 1), device=device, generator=generator)
        yield {
            "tokens": tokens[:, :-1].contiguous(),
            "labels": tokens[:, 1:].contiguous(),
            "position_ids": positions,
            "loss_mask": torch.ones(micro_batch, length, device=device),
        }


def synchronize(device: torch.device) -> None:
    """Wait until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_steps(loop: Loop, warm_up: int, intervals: int, steps: int = 1) -> Timing:
    """Time `intervals` of `steps` steps each, after `warm_up` steps.

    The GPU is waited for at the ends of intervals alone, as a trainer does that reads its loss once in `steps` steps.
    """
    on_gpu = loop.device.type == "cuda"
    for _ in range(warm_up):
        loop.step()
    synchronize(loop.device)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(loop.device)
    seconds = []
    for _ in range(intervals):
        began = time.perf_counter()
        for _ in range(steps):
            loop.step()
        synchronize(loop.device)
        seconds.append((time.perf_counter() - began) / steps)
    peak = torch.cuda.max_memory_allocated(loop.device) / GIB if on_gpu else None
    return Timing(seconds, loop.tokens, peak)


def release(device: torch.device) -> float:
    """After the last reference to a loop is gone, give its memory back. Returns the GiB that are still held."""
    torch._dynamo.reset()
    if engine := sys.modules.get("transformer_engine.pytorch.quantization"):
        engine.FP8GlobalStateManager.reset()
    name = "transformer_engine.pytorch.attention.dot_product_attention.dot_product_attention"
    if attention := sys.modules.get(name):  # a backend is chosen once for a shape, whatever changes in the environment
        attention._attention_backends["backend_selection_requires_update"] = True
    gc.collect()
    if device.type != "cuda":
        return 0.0
    torch.cuda.empty_cache()
    return float(torch.cuda.memory_allocated(device) / GIB)
