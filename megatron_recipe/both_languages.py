"""Texts that a YAML file of the project has in both languages."""

import re

from pydantic import Field, field_validator

from megatron_recipe.settings import Section

WIDE = r"[\u2e80-\u9fff\uff00-\uffef]"
FOLD = re.compile(rf"(?<={WIDE}) (?={WIDE})")


class Text(Section):
    """The same text twice."""

    en: str = Field(min_length=1)
    """In English."""
    zh: str = Field(min_length=1)
    """In Chinese."""

    @field_validator("zh")
    @classmethod
    def _unfolded(cls, text: str) -> str:
        """YAML makes a blank of a line break, and Chinese has none between its characters."""
        return FOLD.sub("", text)

    def of(self, lang: str) -> str:
        """The text of a language."""
        return self.zh if lang == "zh" else self.en
