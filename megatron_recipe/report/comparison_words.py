"""What a comparison found, in words: its conclusions are computed elsewhere, and only worded here."""

import json
import math
from typing import Any

from megatron_recipe.report.formats import decimal, fact, integer, money, ratio, visible
from megatron_recipe.report.words import Words

Record = dict[str, Any]
WHOLE = ("steps_to_target", "tokens_per_second")
"""Measures that are shown without decimals."""
CURRENCIES = ("cny", "usd")


def measure_name(measure: str, words: Words) -> str:
    """The measure as it is called on the page; one that is not known keeps its name."""
    whole, _, held_out_set = measure.partition("/")
    key = f"measure.{whole}"
    name = words(key) if words.has(key) else whole
    return words("measure.on_set", measure=name, name=held_out_set) if held_out_set else name


def amount(value: float, measure: str, unit: str) -> str:
    """A value of a measure with as many digits as mean something; a currency and a percent sign are part of it."""
    if unit.lower() in CURRENCIES:
        whole = money(value, unit.lower())
        return whole if abs(value) >= 1 or not value else whole.replace(f"{value:,.2f}", ratio(value))
    if unit == "%":
        return f"{decimal(value, 1)}%"
    if measure in WHOLE:
        return integer(value).replace("-", "−")
    if measure == "perplexity":
        return decimal(value, 2 if abs(value) < 100 else 1)
    return decimal(value, 4)


def signed(value: float, measure: str, unit: str) -> str:
    """A difference, with its sign also where it is positive."""
    text = amount(abs(value), measure, unit)
    return f"+{text}" if value > 0 else f"−{text}" if value < 0 else text


def inside(name: str) -> str:
    """A measure's name inside a sentence: without its capital, but for an abbreviation."""
    return name[0].lower() + name[1:] if name[1:2].islower() else name


def conclusion(entry: Record, measures: dict[str, Record], words: Words) -> str:
    """One conclusion of comparison.json as a sentence; one of an unknown kind is shown as it is."""
    kind = entry["kind"]
    if kind == "not_measured":
        return not_measured(entry, words)
    if kind not in ("better", "no_difference"):
        return visible(json.dumps(entry, ensure_ascii=False))
    measure = str(entry["measure"])
    unit = str(measures.get(measure, {}).get("unit") or "")

    width = entry.get("half_width")
    # the interval to two figures, and the difference as far as that
    digits = min(max(2, 1 - math.floor(math.log10(abs(width)))), 6) if width else 4

    def size(name: str) -> str:
        """A number of the sentence; a loss has the digits that its interval leaves it."""
        value = entry.get(name)
        if value is None:
            return words("not_measured")
        return decimal(abs(value), digits) if unit == "nats" else amount(abs(value), measure, unit)

    facts: Record = {
        "measure": inside(measure_name(measure, words)),
        "seeds": entry.get("seeds", "?"),
        "half_width": size("half_width"),
        "unit": "" if unit == "%" or unit.lower() in CURRENCIES else words.unit(unit),
    }
    if kind == "better":
        direction = measures.get(measure, {}).get("better", "lower")
        facts |= {"better": entry["better"], "worse": entry["worse"], "difference": size("difference")}
        sentence = words(f"conclusion.better.{direction}", **facts)
    else:
        labels = words.list([str(label) for label in entry["labels"]])
        sentence = words("conclusion.no_difference", labels=labels, **facts)
    return " ".join(sentence.split())


def not_measured(entry: Record, words: Words) -> str:
    """Why nothing can be said, and of which settings."""
    key = f"why.{entry.get('why')}"
    reason = words(key) if words.has(key) else str(entry.get("reason") or words("comparison.no_reason"))
    labels = [str(label) for label in entry.get("labels") or []]
    return words(
        "conclusion.not_measured.of" if labels else "conclusion.not_measured", reason=reason, labels=words.list(labels)
    )


def override_text(value: Any) -> str:
    """A setting's value on one line; a number as one writes it."""
    if isinstance(value, float):
        mantissa, _, exponent = f"{value:e}".partition("e")
        return f"{value:g}" if not value or 0.001 <= abs(value) < 1e6 else f"{float(mantissa):g}e{int(exponent)}"
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value) if isinstance(value, bool | str) else fact(value)
