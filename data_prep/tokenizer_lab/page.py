"""The comparison as one HTML page, made from the content of results.json."""

from typing import Any

from data_prep.tokenizer_lab.page_strings import TABLES
from megatron_recipe import __version__
from megatron_recipe.report.formats import FILTERS
from megatron_recipe.report.page_environment import page_environment
from megatron_recipe.report.strings import Strings

PACKAGES = ("data_prep.tokenizer_lab", "data_prep.report", "megatron_recipe")
"""Whose templates and style the page uses."""


def render_page(results: dict[str, Any], lang: str) -> str:
    """One document that opens anywhere.

    Args:
        results: what `results.write_results` wrote.
        lang: a key of TABLES.
    """
    environment = page_environment(*PACKAGES)
    environment.filters.update(FILTERS)
    environment.globals.update(t=Strings(TABLES[lang]))
    ranked = sorted(results["tokenizers"], key=lambda one: (one["loses_text"], one["flops_per_byte"]))
    return environment.get_template("tokenizers.html").render(
        results=results,
        ranked=ranked,
        longest=max(f["bytes_per_token"] for one in ranked for f in one["sources"].values()),
        dearest=max(one["flops_per_byte"] for one in ranked),
        version=__version__,
    )
