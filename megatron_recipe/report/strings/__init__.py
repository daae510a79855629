"""Every word of the report: one table for each language, with the same keys and the same {placeholders}."""

from markupsafe import Markup

from megatron_recipe.report.strings.en import ENGLISH
from megatron_recipe.report.strings.zh import CHINESE

TABLES = {"en": ENGLISH, "zh": CHINESE}


class Strings:
    """The table of one language; calling it with a key and values gives the text, with the values escaped for HTML."""

    def __init__(self, table: dict[str, str]) -> None:
        self.table = table

    def __call__(self, key: str, **values: object) -> Markup:
        return Markup(self.table[key]).format(**values)

    def has(self, key: str) -> bool:
        """Whether the table has this key."""
        return key in self.table


def strings_for(lang: str) -> Strings:
    """The strings of a language in `TABLES`."""
    return Strings(TABLES[lang])
