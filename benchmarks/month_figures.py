"""Whether every figure of a written quiz is one of the ledger's: quiz.md against `megatron-recipe today --json`."""

import re
from collections.abc import Iterator
from string import Formatter
from typing import Any

from megatron_recipe.month.strings.quiz_en import PAGE as ENGLISH_PAGE
from megatron_recipe.month.strings.quiz_en import QUIZ as ENGLISH
from megatron_recipe.month.strings.quiz_zh import PAGE as CHINESE_PAGE
from megatron_recipe.month.strings.quiz_zh import QUIZ as CHINESE

FIGURE = re.compile(r"\d[\d,.]*(?:[eE][-+]\d+)?")


def figures(text: str) -> list[str]:
    """The figures of a text, without the punctuation after them."""
    return [figure.rstrip(",.") for figure in FIGURE.findall(text)]


def strange_figures(quiz: str, ledger: dict[str, Any]) -> tuple[int, list[str]]:
    """How many figures the questions and answers of a quiz.md have, and which of them the ledger does not.

    Figures of the wording itself ("about 20 a parameter") are the templates', and those of a file's name its own.
    """
    numbers, texts = [], []
    for value in values_of({"tasks": ledger["tasks"], "figures": ledger["figures"]}):
        (numbers if isinstance(value, float) else texts).append(value)
    known = {figure for text in (*texts, *wording()) for figure in figures(str(text))}
    section = re.sub(r"^## \d+\\?\.", "##", quiz[quiz.index("\n## ") : quiz.rindex("\n---")], flags=re.MULTILINE)
    found = figures(section.replace("\\", ""))
    return len(found), [one for one in found if one not in known and not any(shows(one, value) for value in numbers)]


def shows(figure: str, value: float) -> bool:
    """Whether a figure is a value, rounded to its own digits, as it is or as a percentage."""
    if "e" in figure.lower():
        return f"{value:.1e}" == figure
    digits = len(figure.partition(".")[2])
    return figure in (f"{value:,.{digits}f}", f"{100 * value:,.{digits}f}")


def values_of(content: Any) -> Iterator[float | str]:
    """All numbers and texts in nested values."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for one in content:
            yield from values_of(one)
    elif isinstance(content, bool) or content is None:
        return
    else:
        yield float(content) if isinstance(content, int | float) else str(content)


def wording() -> Iterator[str]:
    """What the templates say without their placeholders."""
    pages = (ENGLISH_PAGE, CHINESE_PAGE)
    for template in [
        *(text for page in pages for text in page.values()),
        *sum((*ENGLISH.values(), *CHINESE.values()), ()),
    ]:
        yield " ".join(part for part, *_ in Formatter().parse(template))
