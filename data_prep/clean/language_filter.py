"""Keeps the languages a recipe asks for."""

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from data_prep.clean.units import Share
from megatron_recipe.errors import ConfigError


class LanguageFilter(BaseFilter):
    """Drop documents in other languages (`language_other`) or of a doubtful one (`language_doubtful`).

    It reads what the block `language` (LanguageLabel) wrote, for which text of Chinese characters alone is `zh`.

    Args:
        keep: ISO 639 codes, as in metadata.language.
        min_score: least score of the label; FineWeb keeps English from 0.65 (arXiv 2406.17557). Technical text scores
            lower than prose: 0.3 drops 0.3 % of the Linux kernel's English documentation, 0.65 drops 7 %.

    Raises:
        ConfigError: `keep` is empty, or a document has no label.
    """

    name = "🌍 Language filter"

    def __init__(self, keep: tuple[str, ...] = ("en", "zh"), min_score: Share = 0.3) -> None:
        super().__init__()
        if not keep:
            raise ConfigError("clean.language_filter.keep=[] would drop everything; name languages, like [en, zh]")
        self.keep = frozenset(keep)
        self.min_score = min_score

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        language = doc.metadata.get("language")
        if language is None:
            raise ConfigError("clean.language_filter: documents have no language; put `- language` before it")
        if language not in self.keep and language != "unknown":
            return False, "language_other"
        if language == "unknown" or doc.metadata.get("language_score", 1.0) < self.min_score:
            return False, "language_doubtful"
        return True
