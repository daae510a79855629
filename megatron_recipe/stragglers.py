"""Which rank is slow: a step takes equally long on all ranks, since the fast ones wait in the gradients' exchange.

So what is timed is the part of a step in which a rank works by itself: from asking for a micro-batch to the end of its
forward pass, by events on the GPU's own stream (the clock on a CPU). A hot GPU, a busy host and a slow data loader show
there; the backward pass is left out, as gradients are exchanged while it runs. So is the first micro-batch of a step
where there are several: with `overlap_param_gather` its forward pass waits for the weights of other ranks.

Tensor- and context-parallel ranks exchange activations in the forward pass too and are slow together: the slowest rank
then stands for its group. Pipeline stages have unequal work, hence a rank is compared with those of its stage.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from megatron_recipe.rank_readings import Reading

SLOW_RATIO = 1.5
"""Of a rank's time to the median of its peers."""
RECORDS = 3
"""Records running before a rank is called slow: one may have met a page cache or a neighbour's job."""
SLOW_SECONDS = 30.0
"""And from the first of them to the last at least so long, where records follow each other quickly."""

ForwardStep = Callable[..., Any]


class ForwardTimer:
    """Times the forward passes of this rank's micro-batches."""

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == "cuda"
        self.steps: list[list[tuple[Any, Any]]] = []

    def timed(self, forward_step: ForwardStep) -> ForwardStep:
        """`forward_step` with its calls timed, for one step of training."""
        spans: list[tuple[Any, Any]] = []
        self.steps.append(spans)

        def step(*arguments: Any, **named: Any) -> Any:
            began = self._now()
            result = forward_step(*arguments, **named)
            spans.append((began, self._now()))
            return result

        return step

    def take_seconds(self) -> float | None:
        """Mean time of a micro-batch since the last call; None where there was none. Waits for the GPU."""
        steps, self.steps = self.steps, []
        seconds = [self._between(*span) for spans in steps for span in (spans[1:] or spans)]
        return statistics.fmean(seconds) if seconds else None

    def _now(self) -> Any:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between(self, began: Any, ended: Any) -> float:
        if not self.on_gpu:
            return ended - began
        ended.synchronize()
        return began.elapsed_time(ended) / 1e3


class StragglerWatch:
    """Finds the slowest rank at each record, on the first rank. A rank that stays slow makes one event."""

    def __init__(self, slow_seconds: float = SLOW_SECONDS) -> None:
        self.slow_seconds = slow_seconds
        self.slow_rank, self.records, self.since, self.is_told = -1, 0, 0.0, False
        self.found: dict[str, Any] | None = None

    def read(self, readings: list[Reading]) -> dict[str, Any]:
        """Fields of a record from all ranks' readings, which hold `forward_seconds` and `stage`.

        forward_seconds_slowest, _fastest and _median, and slowest_rank: that with the largest ratio to the median of
        its stage. Nothing with a single rank. `self.found` then holds the facts of the event that is due, or None.
        """
        self.found = None
        times = [(rank, reading) for rank, reading in enumerate(readings) if reading.get("forward_seconds") is not None]
        if len(times) < 2:
            return {}
        medians = {
            stage: statistics.median_low([other["forward_seconds"] for _, other in times if other["stage"] == stage])
            for stage in {reading["stage"] for _, reading in times}
        }
        ratio, slowest = max((reading["forward_seconds"] / medians[reading["stage"]], rank) for rank, reading in times)
        seconds = [reading["forward_seconds"] for _, reading in times]
        self._count(slowest, ratio, readings[slowest]["forward_seconds"])
        return {
            "forward_seconds_slowest": max(seconds),
            "forward_seconds_fastest": min(seconds),
            "forward_seconds_median": statistics.median(seconds),
            "slowest_rank": slowest,
        }

    def _count(self, rank: int, ratio: float, seconds: float) -> None:
        now = time.monotonic()
        if ratio <= SLOW_RATIO or rank != self.slow_rank:
            self.slow_rank, self.records, self.since, self.is_told = -1, 0, now, False
        if ratio <= SLOW_RATIO:
            return
        self.slow_rank, self.records = rank, self.records + 1
        if not self.is_told and self.records >= RECORDS and now - self.since >= self.slow_seconds:
            self.is_told = True
            self.found = {"rank": rank, "forward_seconds": seconds, "ratio_to_median": ratio, "records": self.records}
