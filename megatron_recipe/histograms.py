"""Histograms of weights and gradients for TensorBoard, one for each kind of layer."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

CHUNK = 1 << 22
"""Numbers that are looked at together: 16 MB in single precision, whatever the size of a weight."""
SMALLEST, LARGEST, RATIO = 1e-12, 1e4, 1.3
"""Limits and width of the buckets, which are finer near zero, as gradients are. All steps have the same buckets."""


@torch.no_grad()
def write_histograms(writer: Any, model: Iterable[torch.nn.Module], step: int) -> None:
    """Write `weights/KIND` and `gradients/KIND` of this rank's part of the model.

    Called after the update of `step` and before the next step clears the gradients, which are those that the optimizer
    took: summed over the ranks and clipped. With the distributed optimizer that holds for the part of them that this
    rank updates; the rest is the sum over this rank's own samples. With pipeline or tensor parallelism it is the first
    rank's part of the layers.

    Args:
        writer: TensorBoard's SummaryWriter.
        model: Megatron's wrapped pieces, whose parameters have a `main_grad` (others: `grad`).
    """
    counts: dict[str, Histogram] = {}
    for name, parameter in _named_parameters(model):
        kind = layer_kind(name)
        counts.setdefault(f"weights/{kind}", Histogram()).add(parameter.detach())
        gradient = getattr(parameter, "main_grad", None)
        gradient = parameter.grad if gradient is None else gradient
        if gradient is not None:
            counts.setdefault(f"gradients/{kind}", Histogram()).add(gradient)
    for tag, histogram in counts.items():
        facts = histogram.facts()
        if facts is not None:
            writer.add_histogram_raw(tag, global_step=step, **facts)


def layer_kind(name: str) -> str:
    """The kind of layer that a parameter belongs to: linear_qkv, linear_fc1, norms, embedding, output_layer, …"""
    parts = name.split(".")
    if any("norm" in part for part in parts[-2:]):
        return "norms"
    return "embedding" if "embedding" in name else parts[-2] if len(parts) > 1 else name


@dataclass
class Histogram:
    """Counts of numbers in buckets, added up piece by piece where the numbers are; infinite ones are left out."""

    counts: Tensor | None = None
    sums: Tensor | None = None
    """Of the numbers and of their squares."""
    lowest: list[Tensor] = field(default_factory=list)
    highest: list[Tensor] = field(default_factory=list)

    def add(self, values: Tensor) -> None:
        """Count `values`, on their own device, without waiting for it."""
        edges = bucket_limits(values.device)
        for piece in values.flatten().split(CHUNK):
            numbers = piece.float()
            is_finite = numbers.isfinite()
            buckets = torch.bucketize(numbers, edges)
            counted = torch.zeros(len(edges) + 1, dtype=torch.int64, device=values.device)
            counted.scatter_add_(0, buckets, is_finite.long())
            finite = torch.where(is_finite, numbers, 0.0)
            sums = torch.stack([finite.double().sum(), finite.double().square().sum()])
            self.counts = counted if self.counts is None else self.counts + counted
            self.sums = sums if self.sums is None else self.sums + sums
            self.lowest.append(torch.where(is_finite, numbers, torch.inf).min())
            self.highest.append(torch.where(is_finite, numbers, -torch.inf).max())

    def facts(self) -> Mapping[str, Any] | None:
        """Arguments of `add_histogram_raw`; None where nothing was counted. Waits for the device."""
        if self.counts is None or self.sums is None or not int(self.counts.sum()):
            return None
        lowest, highest = float(torch.stack(self.lowest).min()), float(torch.stack(self.highest).max())
        limits = [*bucket_limits(torch.device("cpu")).tolist(), max(LARGEST * RATIO, highest)]
        counts = self.counts.tolist()
        used = [index for index, count in enumerate(counts) if count]
        first, last = max(used[0] - 1, 0), used[-1] + 1
        return {
            "min": lowest,
            "max": highest,
            "num": sum(counts),
            "sum": float(self.sums[0]),
            "sum_squares": float(self.sums[1]),
            "bucket_limits": limits[first:last],
            "bucket_counts": counts[first:last],
        }


def bucket_limits(device: torch.device) -> Tensor:
    """Upper limits of all buckets but the last, rising through zero."""
    positive = [SMALLEST]
    while positive[-1] < LARGEST:
        positive.append(positive[-1] * RATIO)
    return torch.tensor([*(-limit for limit in reversed(positive)), 0.0, *positive], device=device)


def _named_parameters(model: Iterable[torch.nn.Module]) -> Iterator[tuple[str, torch.nn.Parameter]]:
    for chunk in model:
        yield from chunk.named_parameters()
