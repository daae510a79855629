"""The page: the template filled with a report's content, in one language."""

import re
from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from data_prep.report.strings import strings_for
from megatron_recipe import __version__
from megatron_recipe.report.formats import FILTERS, decimal, integer, percent, visible
from megatron_recipe.report.page_environment import page_environment
from megatron_recipe.report.strings import Strings

_NUMBERED = re.compile(r"(gopher_top|gopher_repeated)_(\d+)_(grams?)")


def render_page(content: dict[str, Any], lang: str) -> str:
    """One HTML document in `lang`, of what `build_report` gives (or its JSON, read again)."""
    text = strings_for(lang)
    environment = page_environment("data_prep.report", "megatron_recipe")
    environment.filters.update(FILTERS, edge=_edge)
    environment.globals.update(
        t=text,
        reason=lambda code: reason_name(text, str(code)),
        language=lambda code: _word(text, f"language.{code}", str(code)),
        estimate=lambda value, kind="integer": _estimate(text, value, kind),
    )
    return environment.get_template("data_report.html").render(report=content, version=__version__)


def reason_name(text: Strings, code: str) -> str:
    """A drop reason in words; one that the tables do not know is its code with spaces."""
    if named := _NUMBERED.fullmatch(code):
        return str(text(f"reason.{named[1]}", number=named[2]))
    return _word(text, f"reason.{code}", code.replace("_", " "))


def _word(text: Strings, key: str, otherwise: str) -> str:
    return str(text(key)) if text.has(key) else visible(otherwise)


def _estimate(text: Strings, value: dict[str, Any], kind: str) -> Markup:
    """The number, and for an estimate ≈ before it and its interval after it."""
    forms: dict[str, Callable[[float], str]] = {
        "integer": integer,
        "percent": percent,
        "decimal": lambda n: decimal(n, 1),
    }
    form = forms[kind]
    if value["exact"]:
        return Markup("{}").format(form(value["value"]))
    interval = f"{form(value['low'])} – {form(value['high'])}"
    return Markup('≈ {} <small class="interval">{}</small>').format(form(value["value"]), interval)


def _edge(value: float) -> str:
    """The end of a bin: 0.05, 1k, 2M."""
    for limit, unit in ((1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:,.0f}{unit}"
    return f"{value:g}"
