"""Numbers, times and foreign text as the page shows them: the same in every language."""

import math
import re
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

UNKNOWN = "—"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
# Controls, bidirectional overrides and isolates, zero-width characters, line separators: they act, hide or reorder.
# Line breaks and tabs stay, and so do zero-width joiners, which emoji and Indic scripts need.
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
MAX_SHOWN_CHARACTERS = 6_000


def integer(value: float | None) -> str:
    """Thousands separated by commas: 3,276,800."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def decimal(value: float | None, digits: int = 3) -> str:
    """Fixed number of decimals, with a minus sign that is as wide as a plus sign."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return str(value).replace("inf", "∞").replace("nan", "NaN").replace("-", "−")
    return f"{value:,.{digits}f}".replace("-", "−")


def short(value: float | None) -> str:
    """Three significant digits and a unit of thousands: 1.39M, 284M, 1.04B."""
    if value is None:
        return UNKNOWN
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit * 0.9995:
            return f"{_three_digits(value / limit)}{unit}"
    return f"{value:,.0f}"


def perplexity(value: float | None) -> str:
    """Two decimals below 10, one below 1,000, none above."""
    if value is None or not math.isfinite(value):
        return decimal(value)
    return decimal(value, 2 if value < 10 else 1 if value < 1000 else 0)


def size(value: float | None) -> str:
    """Bytes in decimal units: 12.3 MB."""
    if value is None:
        return UNKNOWN
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if value >= limit * 0.9995:
            return f"{_three_digits(value / limit)} {unit}"
    return f"{value:,.0f} B"


def ratio(value: float | None) -> str:
    """A factor to three significant digits: 0.0131, 2.36, 1,234."""
    if value is None or not math.isfinite(value):
        return decimal(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def times(nats: float) -> str:
    """The factor between two probabilities whose logarithms differ by `nats`."""
    return ratio(math.exp(min(nats, 700.0)))


def percent(share: float | None, digits: int = 1) -> str:
    """A share of one as a percentage: 12.3%; what would round to nothing is <0.1%."""
    if share is None:
        return UNKNOWN
    smallest = 0.5 * 10**-digits / 100
    return f"<{10**-digits}%" if 0 < share < smallest else f"{decimal(100 * share, digits)}%"


def scientific(value: float | None) -> str:
    """A small number as 1.2×10⁻⁵."""
    if value is None or not math.isfinite(value):
        return decimal(value)
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa}×10{str(int(exponent)).translate(SUPERSCRIPTS)}".replace("-", "−")


def when(value: str | None) -> str:
    """An ISO 8601 time as 2026-11-24 06:12 UTC; without a zone none is added, and what is no time stays as it is."""
    if not value:
        return UNKNOWN
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return str(value)
    if time.tzinfo is None:
        return f"{time:%Y-%m-%d %H:%M}"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def seconds_in_units(seconds: float) -> list[tuple[str, str]]:
    """The two largest units of a duration as (number, unit name): [("7", "minutes"), ("12", "seconds")]."""
    if seconds < 60:
        return [(f"{seconds:.1f}", "seconds")]
    whole = round(seconds)
    parts = [(whole // 86400, "days"), (whole // 3600 % 24, "hours"), (whole // 60 % 60, "minutes")]
    parts.append((whole % 60, "seconds"))
    first = next(index for index, (number, _) in enumerate(parts) if number)
    return [(str(number), unit) for number, unit in parts[first : first + 2]]


def visible(text: Any) -> str:
    """Text from a model or a file, with nothing in it that acts instead of being seen; escape it afterwards.

    Characters that act, hide or reorder become their code (⟨U+001B⟩); what is longer than MAX_SHOWN_CHARACTERS is cut,
    saying how much is missing.
    """
    text = str(text)
    shown = text[:MAX_SHOWN_CHARACTERS].replace("\r\n", "\n")
    shown = HIDDEN.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", shown)
    cut = len(text) - MAX_SHOWN_CHARACTERS
    return f"{shown} … (+{cut:,})" if cut > 0 else shown


def fact(value: Any) -> str:
    """A value of an event: thousands separated, four digits of a fraction, one line of text in which nothing acts."""
    if value is None:
        return UNKNOWN
    if isinstance(value, int) and not isinstance(value, bool):
        return integer(value)
    if isinstance(value, float):
        return integer(value) if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
    return " ".join(visible(value).split())


def money(value: float | None, currency: str) -> str:
    """An amount with the currency's sign: ¥1,234.50; an unknown currency stands behind it."""
    if value is None:
        return UNKNOWN
    sign = {"cny": "¥", "usd": "$"}.get(currency)
    return f"{sign}{value:,.2f}" if sign else f"{value:,.2f} {visible(currency)}"


def _three_digits(value: float) -> str:
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def unbroken_time(value: str | None) -> Markup:
    """A time that is not broken over lines."""
    return Markup("<time>{}</time>").format(visible(when(value)))


FILTERS = {
    "integer": integer,
    "decimal": decimal,
    "short": short,
    "perplexity": perplexity,
    "size": size,
    "ratio": ratio,
    "times": times,
    "percent": percent,
    "scientific": scientific,
    "visible": visible,
    "when": unbroken_time,
    "fact": fact,
    "money": money,
}
