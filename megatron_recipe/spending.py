"""Time and money that a run has used, over all its instances: RUN/spending.json.

A killed process takes back its steps since the last checkpoint, not the rent. So this is kept apart from the run's
state: one entry for each process that trained, whose last sign of life is written every few seconds.
"""

import json
import time
from pathlib import Path
from typing import Any

from megatron_recipe.config import BudgetConfig
from megatron_recipe.errors import CheckpointError, ConfigError
from megatron_recipe.files import write_json

SPENDING = "spending.json"
WRITE_EVERY_SECONDS = 5.0
SECONDS_PER_HOUR = 3600.0


class Spending:
    """The clock and the purse of a run, kept by the first rank.

    Args:
        started: `time.monotonic()` at the beginning of this process.

    Raises:
        CheckpointError: the file is damaged.
        ConfigError: earlier instances were paid in another currency.
    """

    def __init__(self, run_dir: Path, budget: BudgetConfig, started: float) -> None:
        self.path, self.budget, self.started = run_dir / SPENDING, budget, started
        self.before: list[dict[str, Any]] = []
        self.closing_seconds: float | None = None
        """What a validation and a save took lately, in this instance or the one before; None where none was seen."""
        if self.path.is_file():
            try:
                kept = json.loads(self.path.read_text(encoding="utf-8"))
                self.before, self.closing_seconds = kept["instances"], kept["closing_seconds"]
                paid_in = {entry["currency"] for entry in self.before if entry["price_per_hour"] * entry["seconds"]}
            except (ValueError, KeyError, TypeError) as error:
                raise CheckpointError(
                    f"{self.path}: damaged ({error}); it remembers what the run has cost: delete it to count from zero"
                ) from error
            if budget.price_per_hour and paid_in - {budget.currency}:
                raise ConfigError(
                    f"budget.currency={budget.currency}, but earlier instances of this run were paid in "
                    f"{', '.join(paid_in)} ({self.path}), and two currencies have no sum; give the price in "
                    f"{', '.join(paid_in)}"
                )
        self.began = time.time() - (time.monotonic() - started)
        self.written = 0.0

    def seconds(self) -> float:
        """Time used by all instances, this one up to now."""
        return sum(entry["seconds"] for entry in self.before) + time.monotonic() - self.started

    def money(self) -> float | None:
        """What that cost, each instance at its own price; None where no price is known."""
        prices = [(entry["seconds"], entry["price_per_hour"]) for entry in self.before]
        prices.append((time.monotonic() - self.started, self.budget.price_per_hour))
        if not self.budget.price_per_hour:
            return None
        return sum(seconds * price for seconds, price in prices) / SECONDS_PER_HOUR

    def mark(self, *, now: bool = False) -> None:
        """Write how long this instance has lived, at most every few seconds unless `now`."""
        if not now and time.monotonic() - self.written < WRITE_EVERY_SECONDS:
            return
        self.written = time.monotonic()
        current = {
            "began": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(self.began)),
            "seconds": round(time.monotonic() - self.started, 3),
            "price_per_hour": self.budget.price_per_hour,
            "currency": self.budget.currency,
        }
        write_json(self.path, {"instances": [*self.before, current], "closing_seconds": self.closing_seconds})
