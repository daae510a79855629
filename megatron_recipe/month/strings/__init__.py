"""The words of the ledger in English and Chinese: same keys, same {placeholders}."""

from typing import Any

from megatron_recipe.month.evidence import Found
from megatron_recipe.month.month_file import Month
from megatron_recipe.month.strings.en import EVIDENCE as ENGLISH_EVIDENCE
from megatron_recipe.month.strings.en import LEDGER as ENGLISH_LEDGER
from megatron_recipe.month.strings.en import VALUES as ENGLISH_VALUES
from megatron_recipe.month.strings.en import WANTED as ENGLISH_WANTED
from megatron_recipe.month.strings.zh import EVIDENCE as CHINESE_EVIDENCE
from megatron_recipe.month.strings.zh import LEDGER as CHINESE_LEDGER
from megatron_recipe.month.strings.zh import VALUES as CHINESE_VALUES
from megatron_recipe.month.strings.zh import WANTED as CHINESE_WANTED

EVIDENCE = {"en": ENGLISH_EVIDENCE, "zh": CHINESE_EVIDENCE}
LEDGER = {"en": ENGLISH_LEDGER, "zh": CHINESE_LEDGER}
VALUES = {"en": ENGLISH_VALUES, "zh": CHINESE_VALUES}
"""Values that are words themselves, as they are called in a sentence."""
WANTED = {"en": ENGLISH_WANTED, "zh": CHINESE_WANTED}
"""Where each kind of evidence is looked for."""
UNKNOWN = {"en": "not measured", "zh": "未测得"}


class Shown:
    """A value in a sentence: a figure with its format, a word in the language, `not measured` where there is none."""

    def __init__(self, value: Any, lang: str) -> None:
        self.value = value.get(lang) if isinstance(value, dict) else value
        self.lang = lang

    def __format__(self, spec: str) -> str:
        if self.value is None:
            return UNKNOWN[self.lang]
        if isinstance(self.value, str):
            return VALUES[self.lang].get(self.value, self.value)
        return format(self.value, spec)


def shown(values: Any, lang: str) -> dict[str, Shown]:
    """Values for a sentence's placeholders."""
    return {name: Shown(value, lang) for name, value in values.items()}


def evidence_text(found: Found, lang: str) -> str:
    """One piece of evidence as a sentence, without its file."""
    return EVIDENCE[lang][found.kind].format(**shown(found.values, lang))


def wanted_text(evidence: str, month: Month, lang: str) -> str:
    """Where a piece of evidence, `kind` or `kind:argument`, is looked for."""
    kind, _, argument = evidence.partition(":")
    name = {"small": month.small, "big": month.big}.get(argument, argument)
    values = {"argument": argument, "name": name, "big": month.big, "dataset": month.dataset.as_posix()}
    return WANTED[lang][kind].format(**values)
