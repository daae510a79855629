"""The learning rate that a configuration lays out, without torch: what the trainer's schedule gives after some samples.

The formulas are those of Megatron-Core's OptimizerParamScheduler, which the trainer uses.
"""

import math
from typing import Any

Record = dict[str, Any]


def planned_rate(config: Record, samples: int) -> float | None:
    """Learning rate of the step that ends at `samples`; None where a budget's clock or a batch ramp drives it."""
    schedule, batch, train = (config.get(name) or {} for name in ("schedule", "batch", "train"))
    budget = config.get("budget") or {}
    if batch.get("ramp_up_from_samples") or (budget.get("amount") and budget.get("unit") != "tokens"):
        return None
    size, steps = batch.get("global_batch_size_samples"), train.get("steps")
    peak, low, warmup = (schedule.get(name) for name in ("peak_learning_rate", "min_learning_rate", "warmup_fraction"))
    if not (size and steps and peak) or low is None or warmup is None:  # config.yaml of a run has them all
        return None
    total = size * steps
    warm = round(warmup * steps) * size
    if warm and samples <= warm:
        return float(peak * samples / warm)
    return float(low + _share(schedule, min(samples, total), warm, total) * (peak - low))


def _share(schedule: Record, samples: int, warm: int, total: int) -> float:
    """Between the peak (1) and the lowest rate (0)."""
    shape, done = schedule.get("decay") or "cosine", (samples - warm) / max(total - warm, 1)
    if shape == "constant":
        return 1.0
    if shape == "wsd":
        decaying = round((schedule.get("wsd_decay_fraction") or 0.2) * total)
        done = (samples - (total - decaying)) / max(decaying, 1)
        shape = schedule.get("wsd_decay_shape") or "linear"
        if done <= 0:
            return 1.0
    if shape == "cosine":
        return 0.5 * (math.cos(math.pi * done) + 1.0)
    return 1.0 - (math.sqrt(done) if shape == "minus_sqrt" else done)
