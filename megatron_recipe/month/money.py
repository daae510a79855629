"""What all runs below the user's folder have cost: their spending.json, those of comparisons and incidents too."""

from dataclasses import dataclass

from megatron_recipe.month.folder import Folder
from megatron_recipe.spending import SECONDS_PER_HOUR, SPENDING

PLACES = ("runs/*", "comparisons/*/runs/*", "incidents/*/*")


@dataclass(frozen=True)
class Spent:
    """Time and money so far."""

    runs: int
    hours: float
    money: float
    """In the month's currency."""
    unpriced_hours: float
    """Time of runs that were given no price."""
    other: float
    """In the other currency; it is not converted."""


def spent(folder: Folder) -> Spent:
    """Add up what the runs recorded; a file without entries counts nothing."""
    files = sorted({file for place in PLACES for file in folder.found(f"{place}/{SPENDING}")})
    entries = []
    for file in files:
        for entry in folder.record(file).get("instances") or []:
            figures = (entry.get("seconds"), entry.get("price_per_hour"))
            if all(isinstance(figure, int | float) for figure in figures):
                entries.append((figures[0] / SECONDS_PER_HOUR, figures[1], str(entry.get("currency"))))
    ours = sum(hours * price for hours, price, currency in entries if currency == folder.month.currency)
    return Spent(
        runs=len(files),
        hours=sum(hours for hours, _, _ in entries),
        money=ours,
        unpriced_hours=sum(hours for hours, price, _ in entries if not price),
        other=sum(hours * price for hours, price, _ in entries) - ours,
    )
