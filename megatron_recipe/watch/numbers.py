"""The numbers of the latest record, in the groups that the dashboard shows beside one another."""

from collections.abc import Callable
from typing import Any

from megatron_recipe.report.formats import integer, percent, visible
from megatron_recipe.watch.run_view import RunView, number
from megatron_recipe.watch.words import Words

Cells = list[tuple[str, str]]

TRAINING: dict[str, Callable[[float], str]] = {
    "loss": lambda value: f"{value:.4f}",
    "learning_rate": lambda value: f"{value:.2e}".replace("e-0", "e-"),
    "grad_norm": lambda value: f"{value:.3f}",
    "loss_scale": integer,
}
SPEED: dict[str, Callable[[float], str]] = {
    "tokens_per_second_per_gpu": integer,
    "tflops_per_gpu": lambda value: f"{value:,.0f}" if value >= 10 else f"{value:.2g}",
    "mfu_full": percent,
    "mfu_causal": percent,
    "step_seconds": lambda value: f"{value:.2f} s",
}
MACHINE: dict[str, Callable[[float], str]] = {
    "memory_gb": lambda value: f"{value:.1f} GB",
    "gpu_utilisation_mean": lambda value: f"{value:.0f}%",
    "gpu_power_watts": lambda value: f"{value:,.0f} W",
    "gpu_temperature_max": lambda value: f"{value:.0f} °C",
    "joules_per_token": lambda value: f"{1000 * value:.1f} mJ" if value < 1 else f"{value:.2f} J",
    "host_memory_used_gb": lambda value: f"{value:.1f} GB",
}
CARE: dict[str, Callable[[float], str]] = {
    "data_wait_seconds": lambda value: f"{value:.2f} s",
    "straggler_ratio": lambda value: f"{value:.2f} ×",
    "disk_free_gb": lambda value: f"{value:,.0f} GB",
}
SYMBOLS = {"cny": "¥", "usd": "$"}


def number_groups(view: RunView, words: Words) -> list[Cells]:
    """Labels and values by group; what was not measured is left out, and groups without any value too."""
    record = view.train
    slowest, usual = number(record.get("forward_seconds_slowest")), number(record.get("forward_seconds_median"))
    if slowest and usual:
        record = {**record, "straggler_ratio": slowest / usual}
    on_gpu = number(record.get("memory_gb")) is not None
    speed = SPEED if on_gpu else {"tokens_per_second": integer, **SPEED}
    groups = [_cells(record, fields, words) for fields in (TRAINING, speed, MACHINE)]
    if not on_gpu:
        hidden = words("tokens_per_second_per_gpu")
        groups[1] = [cell for cell in groups[1] if cell[0] != hidden]
    groups[2] = _trouble(record, words) + groups[2]
    return [group for group in [*groups, _money(view, words) + _cells(record, CARE, words)] if group]


def amount(value: float, unit: str) -> str:
    """An amount of a budget: ¥123.40, 12.3 h, 2,000,000 tokens."""
    if unit in SYMBOLS:
        return f"{SYMBOLS[unit]}{value:,.2f}"
    if unit == "hours":
        return f"{value:,.1f} h"
    return f"{value:,.0f} s" if unit == "seconds" else integer(value)


def _cells(record: dict[str, Any], fields: dict[str, Callable[[float], str]], words: Words) -> Cells:
    values = [(words(name), shown, number(record.get(name))) for name, shown in fields.items()]
    return [(label, shown(value)) for label, shown, value in values if value is not None]


def _trouble(record: dict[str, Any], words: Words) -> Cells:
    """What a GPU complains of, which comes before its ordinary readings."""
    throttle, errors = record.get("gpu_throttle"), number(record.get("gpu_ecc_errors"), 0)
    cells = [(words("gpu_throttle"), visible(throttle))] if throttle else []
    return cells + ([(words("gpu_ecc_errors"), integer(errors))] if errors else [])


def _money(view: RunView, words: Words) -> Cells:
    budget = view.section("budget")
    currency, unit = view.currency, str(budget.get("unit") or "cny")
    cells = []
    cost = view.spent(currency) if currency else None
    if cost and currency:
        cells.append((words("cost"), amount(cost, currency)))
    whole, spent = number(budget.get("amount"), 0.0), view.spent(unit)
    if whole and spent is not None:
        left = max(whole - spent, 0.0)
        cells.append((words("budget_left"), amount(left, unit)))
    return cells
