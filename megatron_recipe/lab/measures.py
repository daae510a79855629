"""What a run measured, read from its records; what it did not measure is None."""

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megatron_recipe.config import Config
from megatron_recipe.files import json_if_whole, read_jsonl
from megatron_recipe.report.run_files import latest_pass
from megatron_recipe.spending import SECONDS_PER_HOUR, SPENDING

Records = list[dict[str, Any]]
Values = dict[str, float | None]

LAST_SHARE = 0.1
"""Of the steps, whose mean is the training loss at the end: one step's loss depends on its few samples."""
HELD_OUT = "validation_loss"
BY_SET = f"{HELD_OUT}/"
UNITS: dict[str, tuple[str, str]] = {
    "train_loss": ("nats", "lower"),
    HELD_OUT: ("nats", "lower"),
    "perplexity": ("", "lower"),
    "bits_per_byte": ("bits", "lower"),
    "steps_to_target": ("steps", "lower"),
    "mfu_full": ("%", "higher"),
    "tokens_per_second": ("tokens/s", "higher"),
    "cost": ("", "lower"),
}
"""Unit of each measure, and which direction is better. The cost's unit is the comparison's currency."""


def units(held_out: Sequence[str], currency: str | None) -> dict[str, tuple[str, str]]:
    """Units and directions of all measures: those above, and the loss on each of several held-out sets."""
    sets = {name: UNITS[HELD_OUT] for kind in held_out if (name := _name_of(kind))}
    return {**UNITS, **sets, "cost": (currency or "", "lower")}


def measure(folder: Path, config: Config, held_out: Sequence[str], target_loss: float | None) -> Values:
    """The values of a finished run.

    - `train_loss`: mean over the records of the last tenth of the steps.
    - `validation_loss`: at the last step, the mean over the held-out sets; `validation_loss/NAME` of each where there
      are several. `perplexity` is its exponential, `bits_per_byte` the mean of the sets'.
    - `steps_to_target`: first validation whose loss is no more than the target; None where none was.
    - `tokens_per_second`, `mfu_full` (%): median of the records, without the first, which holds the warming up.
    - `cost`: the price of all the run's processes, from start to end.

    Args:
        held_out: kinds of the validation records.
    """
    records = latest_pass(read_jsonl(folder / "metrics.jsonl"))
    train = [record for record in records if record["kind"] == "train"]
    sets = {kind: [record for record in records if record["kind"] == kind] for kind in held_out}
    last = [record for record in train if record["step"] > config.train.steps * (1 - LAST_SHARE)]
    at_end = {kind: one[-1] for kind, one in sets.items() if one and one[-1]["step"] == config.train.steps}
    is_measured = len(at_end) == len(held_out)
    loss = _mean([record["loss"] for record in at_end.values()]) if is_measured else None
    mfu = _middle(train, "mfu_full")
    by_set = {name: at_end.get(kind, {}).get("loss") for kind in held_out if (name := _name_of(kind))}
    return {
        "train_loss": _mean([record["loss"] for record in last]),
        HELD_OUT: loss,
        "perplexity": None if loss is None else math.exp(min(loss, 700.0)),
        "bits_per_byte": _mean([record["bits_per_byte"] for record in at_end.values()]) if is_measured else None,
        "steps_to_target": _steps_to(target_loss, list(sets.values())),
        "mfu_full": None if mfu is None else 100 * mfu,
        "tokens_per_second": _middle(train, "tokens_per_second"),
        "cost": _cost(folder),
        **{name: finite(value) for name, value in by_set.items()},
    }


def finite(value: float | None) -> float | None:
    """The value, or None where it is no number: JSON has no NaN, and no interval can be made of one."""
    return value if value is not None and math.isfinite(value) else None


def _name_of(kind: str) -> str:
    """Measure of a named held-out set; empty for the mix's own."""
    return kind.replace("validation/", BY_SET) if "/" in kind else ""


def _mean(values: Sequence[float]) -> float | None:
    return finite(statistics.fmean(values)) if values else None


def _middle(train: Records, field: str) -> float | None:
    known = [record[field] for record in train[1:] if record.get(field) is not None]
    return finite(statistics.median(known)) if known else None


def _steps_to(target: float | None, sets: list[Records]) -> float | None:
    """The first step at which the mean over the sets was no more than the target."""
    if target is None:
        return None
    for at_one_step in zip(*sets, strict=False):
        if statistics.fmean(record["loss"] for record in at_one_step) <= target:
            return float(at_one_step[0]["step"])
    return None


def _cost(folder: Path) -> float | None:
    """Price of the time of all processes; None where a part of it has no price, or the file is damaged."""
    instances = json_if_whole(folder / SPENDING).get("instances")
    if not instances or not all(one["price_per_hour"] for one in instances):
        return None
    return float(sum(one["seconds"] * one["price_per_hour"] for one in instances) / SECONDS_PER_HOUR)
