"""Prices of GPU hours, from prices.yaml, and what tokens cost at them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("prices.yaml")


@dataclass(frozen=True)
class Rate:
    """Yuan for a dollar."""

    cny_per_usd: float
    date: str
    checked: bool


@dataclass(frozen=True)
class Offer:
    """One GPU, for an hour, on one platform."""

    platform: str
    gpu: str
    """Name of a card in hardware.yaml."""
    cny_per_hour: float
    date: str
    """When the price was read."""
    checked: bool
    """Whether a page of that date states it."""
    source: str

    def cny(self, gpu_hours: float) -> float:
        """Price of so many GPU hours."""
        return self.cny_per_hour * gpu_hours


@cache
def rate() -> Rate:
    """The exchange rate that dollar prices are converted with."""
    values = _table()["cny_per_usd"]
    return Rate(values["rate"], str(values["date"]), values["checked"])


@cache
def offers() -> tuple[Offer, ...]:
    """All prices of the table, in yuan."""
    return tuple(
        Offer(
            platform=values["platform"],
            gpu=values["gpu"],
            cny_per_hour=values["per_hour"] * (rate().cny_per_usd if values["currency"] == "usd" else 1.0),
            date=str(values["date"]),
            checked=values["checked"],
            source=values["from"],
        )
        for values in _table()["offers"]
    )


@cache
def _table() -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return table
