"""A run that ends when its budget is spent: the schedule's clock is the share that was spent, not the step.

So warm-up, plateau and decay are shares of the budget, and the last yuan buys a model whose learning rate has come
down, whatever the machine's speed was and however often it was taken away.
"""

import math
import re
from dataclasses import dataclass

from megatron_recipe.config import BudgetConfig, Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.spending import SECONDS_PER_HOUR, Spending

WARN_AT = 0.8
UNKNOWN_CLOSING, MOST_KEPT_BACK = 0.01, 0.1
"""Shares of the budget: what is kept back for the end while it was never measured, and at most."""
AMOUNT = re.compile(r"\s*([0-9][0-9_,]*\.?[0-9]*(?:e[0-9]+)?)\s*([a-z¥$元]+)\s*", re.IGNORECASE)
PRICE = re.compile(r"\s*[¥$]?\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*(cny|rmb|元|usd)?\s*/\s*h(?:our)?\s*", re.IGNORECASE)
UNITS = {
    "cny": "cny",
    "rmb": "cny",
    "yuan": "cny",
    "元": "cny",
    "¥": "cny",
    "usd": "usd",
    "$": "usd",
    "h": "hours",
    "hour": "hours",
    "hours": "hours",
    "s": "seconds",
    "seconds": "seconds",
    "tokens": "tokens",
    "t": "tokens",
}


def is_clocked(budget: BudgetConfig) -> bool:
    """Whether the run's length is a time. A budget of tokens is a number of steps."""
    return budget.amount > 0 and budget.unit != "tokens"


def budget_seconds(budget: BudgetConfig) -> float:
    """The budget as time on this machine; what earlier instances cost is counted at their own prices."""
    if budget.unit in ("cny", "usd"):
        return budget.amount / budget.price_per_hour * SECONDS_PER_HOUR
    return budget.amount * (SECONDS_PER_HOUR if budget.unit == "hours" else 1.0)


@dataclass
class BudgetClock:
    """Where a budget run stands; asked by the first rank, whose answer all ranks take."""

    budget: BudgetConfig
    spending: Spending
    warned: bool = False

    def spent(self) -> float:
        """Share of the budget that is spent, of all of it."""
        if self.budget.unit in ("cny", "usd"):
            return (self.spending.money() or 0.0) / self.budget.amount
        return self.spending.seconds() / budget_seconds(self.budget)

    def share(self, step_seconds: float) -> float:
        """Share of the training time that is spent, at most 1: then the run ends.

        What comes after the last step is kept back, a validation and a checkpoint, and a step, so that none is begun
        that the budget does not pay for. Not more than a tenth: a slow disk must not take the decay away.

        Args:
            step_seconds: what a step takes.
        """
        whole = budget_seconds(self.budget)
        closing = self.spending.closing_seconds
        kept_back = (UNKNOWN_CLOSING * whole if closing is None else closing) + step_seconds
        return min(self.spent() / (1 - min(kept_back / whole, MOST_KEPT_BACK)), 1.0)

    def should_warn(self) -> bool:
        """True once, when four fifths are spent."""
        due = not self.warned and self.spent() >= WARN_AT
        self.warned = self.warned or due
        return due


def parse_budget(text: str) -> dict[str, float | str]:
    """`3000cny`, `40h`, `90s`, `2e9tokens` as fields of the budget section."""
    match = AMOUNT.fullmatch(text)
    unit = UNITS.get(match.group(2).lower()) if match else None
    amount = float(match.group(1).replace(",", "").replace("_", "")) if match else 0.0
    if unit is None or not 0 < amount < math.inf:
        raise ConfigError(f"--budget {text}: write amount and unit, for example 3000cny, 400usd, 40h or 20e9tokens")
    return {"amount": amount, "unit": unit}


def parse_price(text: str) -> dict[str, float | str]:
    """`5/h`, `5cny/h`, `2.5usd/h` as fields of the budget section."""
    match = PRICE.fullmatch(text)
    if match is None or not float(match.group(1)):
        raise ConfigError(f"--price {text}: write what the machine costs an hour, for example 5/h or 2.5usd/h")
    currency = "usd" if "$" in text or (match.group(2) or "").lower() == "usd" else "cny"
    return {"price_per_hour": float(match.group(1)), "currency": currency}


def steps_of_tokens(config: Config) -> int:
    """Steps of full batches that a budget of tokens pays for."""
    return int(config.budget.amount) // (config.batch.global_batch_size_samples * config.model.sequence_length_tokens)


def budget_problems(config: Config) -> list[str]:
    """Rules of the budget section, for validation."""
    budget = config.budget
    if not budget.amount:
        return []
    problems = []
    if budget.unit in ("cny", "usd"):
        if not budget.price_per_hour:
            problems.append(
                f"budget.amount={budget.amount:g} {budget.unit} needs budget.price_per_hour, the price of the whole "
                "machine; add --price 5/h, or give a budget in hours"
            )
        elif budget.currency != budget.unit:
            problems.append(
                f"budget.unit={budget.unit} and budget.currency={budget.currency} must be the same; give both in one"
            )
    if budget.unit == "tokens" and steps_of_tokens(config) < 1:
        step = config.batch.global_batch_size_samples * config.model.sequence_length_tokens
        problems.append(
            f"budget.amount={budget.amount:g} tokens is less than one step of {step:,}; give more, or a smaller batch"
        )
    if is_clocked(budget) and config.schedule.decay == "constant":
        problems.append(
            "schedule.decay=constant never comes down, and a budget has to end with a decayed model; "
            "use schedule.decay=wsd"
        )
    return problems
