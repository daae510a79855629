"""A comparison's numbers as text: conclusions, and values with what is uncertain about them."""

import math
from typing import Any

from megatron_recipe.lab.words import WORDS

Words = dict[str, str]


def conclusion_text(conclusion: dict[str, Any], lang: str) -> str:
    """One conclusion of comparison.json as a sentence: "B is better than A by 0.021 ± 0.006 nats …"."""
    words = WORDS[lang]
    if conclusion["kind"] == "not_measured":
        return words[conclusion["why"]].format(labels=joined(conclusion["labels"], words))
    half = conclusion["half_width"]
    values = {**conclusion, "half_width": rounded(half, half), "measure": words[conclusion["measure"]]}
    if conclusion["kind"] == "better":
        values["difference"] = rounded(conclusion["difference"], half)
    else:
        values["labels"] = joined(conclusion["labels"], words)
    return words[conclusion["kind"]].format(**values)


def joined(labels: list[str], words: Words) -> str:
    """`A, B and C`."""
    return words["and"].join(filter(None, [words["comma"].join(labels[:-1]), *labels[-1:]]))


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


def duration_text(seconds: float, words: Words) -> str:
    """`3 h 20 min`, `4 min 10 s`, `12 s`."""
    minutes, left = divmod(round(seconds), 60)
    if minutes >= 60:
        return words["hours"].format(hours=minutes // 60, minutes=minutes % 60)
    return words["minutes" if minutes else "seconds"].format(minutes=minutes, seconds=left)
