"""A comparison as text for the terminal: its conclusions, and values with what is uncertain about them."""

import math
from typing import Any


def conclusion_text(entry: dict[str, Any], result: dict[str, Any], lang: str) -> str:
    """One conclusion of a comparison.json as the sentence of its page: "B is better than A: …"."""
    from megatron_recipe.report.comparison_words import conclusion
    from megatron_recipe.report.words import Words

    return conclusion(entry, result["measures"], Words(lang))


def rounded(value: float, uncertainty: float) -> str:
    """The value to the two leading digits of what is uncertain about it."""
    if not uncertainty:
        return f"{value:,.5g}"
    decimals = max(0, 1 - math.floor(math.log10(uncertainty)))
    return f"{value:,.{min(decimals, 6)}f}"


def summary_text(summary: dict[str, Any] | None) -> str:
    """A mean with half its interval, `–` where nothing was measured."""
    if summary is None:
        return "–"
    mean = summary["mean"]
    if summary["low"] is None:
        return f"{mean:,.4g}" if abs(mean) < 1000 else f"{mean:,.0f}"
    half = (summary["high"] - summary["low"]) / 2
    return f"{rounded(mean, half)} ± {rounded(half, half)}"


def duration_text(seconds: float, words: dict[str, str]) -> str:
    """`3 h 20 min`, `4 min 10 s`, `12 s`."""
    minutes, left = divmod(round(seconds), 60)
    if minutes >= 60:
        return words["hours"].format(hours=minutes // 60, minutes=minutes % 60)
    return words["minutes" if minutes else "seconds"].format(minutes=minutes, seconds=left)
