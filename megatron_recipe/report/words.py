"""The tables of words as plain text, for documents that are set in more than one form."""

from typing import Any

from megatron_recipe.report.formats import seconds_in_units
from megatron_recipe.report.operation import sentence
from megatron_recipe.report.strings import Strings, strings_for

Record = dict[str, Any]


class Words:
    """The words of one language; calling it with a key and values gives plain text."""

    def __init__(self, lang: str) -> None:
        self.lang = lang
        self.text: Strings = strings_for(lang)

    def __call__(self, key: str, **values: object) -> str:
        return self.text.table[key].format(**values)

    def has(self, key: str) -> bool:
        """Whether there is such a key."""
        return self.text.has(key)

    def duration(self, seconds: float | None) -> str | None:
        """A duration in its two largest units; None stays None."""
        if seconds is None:
            return None
        return " ".join(self(f"unit.{unit}", number=number) for number, unit in seconds_in_units(seconds))

    def accident(self, event: Record) -> str:
        """An accident in words, as the run's report tells it."""
        return sentence(self.text, event).unescape()

    def unit(self, unit: str) -> str:
        """A unit's name in this language; one that is not known stays as it is."""
        key = f"unit.name.{unit}"
        return self(key) if self.has(key) else unit

    def list(self, items: list[str]) -> str:
        """`a`, `a and b`, `a, b and c`."""
        if len(items) < 2:
            return "".join(items)
        return self("list.last", before=self("list.comma").join(items[:-1]), last=items[-1])
