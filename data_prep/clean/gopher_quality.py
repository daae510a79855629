"""Gopher's rules of quality, for English and Chinese: what is too short, no prose, or a list of links and fragments."""

import re

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from pydantic import PositiveFloat

from data_prep.clean.units import CHINESE_UNIT, HAN_PER_WORD, Count, Share, is_chinese_document, lines_of

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
"""Gopher's, two of which any English text has."""
STOP_CHARACTERS = frozenset("的一是在不了有和人这這中大为為上个個国國我以要他时時来來用们們生到作地于於出就")
"""The most frequent characters of modern Chinese, simplified and traditional."""
CLASSICAL_STOP_CHARACTERS = frozenset("之乎者也而其於于以無无何此如自不有為为與与所則则乃亦且")
"""Function characters of classical prose."""
_LONG_TEXT = 200
"""Chinese characters from which a text has stop characters; a poem of four or eight lines need not have any."""
_HAS_LETTER = re.compile(r"[^\W\d_]\S*")
_BULLETS = frozenset("•-*●·○■◆▪")
_ELLIPSES = ("...", "…")


class GopherQualityFilter(BaseFilter):
    """Drop documents by Gopher's rules of quality (Rae et al. 2021, arXiv 2112.11446, table A1 and section A1.1).

    Chinese text (metadata.language, or else its characters) has rules of its own where words are counted:

    - a minimum in characters, low enough for a poem of four lines;
    - no rule about the length of words, but one about the share of Chinese characters, which finds code;
    - stop characters of modern or classical Chinese, asked of texts of 200 characters or more only;
    - at least 0.735 of units with a letter (FineWeb-2, arXiv 2506.20920, configs/cmn_Hani.yml), where English has 0.8.

    Args:
        min_words: least words of an English document (`gopher_short`); Gopher has 50.
        min_chinese_characters: least Chinese characters and Latin words of a Chinese document (`gopher_short`).
        max_words: greatest number of words, 1.6 Chinese characters counted as one (`gopher_long`); Gopher has 100,000.
        min_mean_word_characters: least mean length of English words (`gopher_short_words`).
        max_mean_word_characters: greatest mean length of English words (`gopher_long_words`).
        max_symbols_per_word: greatest number of hashes, or of ellipses, per word (`gopher_symbols`).
        max_bullet_lines: greatest share of lines that begin with a bullet (`gopher_bullets`).
        max_ellipsis_lines: greatest share of lines that end in an ellipsis (`gopher_ellipsis_lines`).
        min_words_with_letters: least share of English words with a letter (`gopher_few_letters`).
        min_chinese_units_with_letters: the same of Chinese text.
        min_han_of_letters: least share of Chinese characters among the units of a Chinese document (`gopher_few_han`).
        min_stop_words: least number of different stop words (`gopher_stop_words`).
    """

    name = "🥇 Gopher quality"

    def __init__(
        self,
        min_words: Count = 50,
        min_chinese_characters: Count = 20,
        max_words: Count = 100_000,
        min_mean_word_characters: PositiveFloat = 3.0,
        max_mean_word_characters: PositiveFloat = 10.0,
        max_symbols_per_word: PositiveFloat = 0.1,
        max_bullet_lines: Share = 0.9,
        max_ellipsis_lines: Share = 0.3,
        min_words_with_letters: Share = 0.8,
        min_chinese_units_with_letters: Share = 0.735,
        min_han_of_letters: Share = 0.3,
        min_stop_words: Count = 2,
    ) -> None:
        super().__init__()
        self.min_words = min_words
        self.min_chinese_characters = min_chinese_characters
        self.max_words = max_words
        self.min_mean_word_characters = min_mean_word_characters
        self.max_mean_word_characters = max_mean_word_characters
        self.max_symbols_per_word = max_symbols_per_word
        self.max_bullet_lines = max_bullet_lines
        self.max_ellipsis_lines = max_ellipsis_lines
        self.min_words_with_letters = min_words_with_letters
        self.min_chinese_units_with_letters = min_chinese_units_with_letters
        self.min_han_of_letters = min_han_of_letters
        self.min_stop_words = min_stop_words

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        text = doc.text
        reason = self._chinese(text) if is_chinese_document(doc) else self._english(text)
        return (False, reason) if reason else True

    def _english(self, text: str) -> str | None:
        words = text.lower().split()
        if len(words) < max(self.min_words, 1):
            return "gopher_short"
        mean = sum(map(len, words)) / len(words)
        if mean < self.min_mean_word_characters:
            return "gopher_short_words"
        if mean > self.max_mean_word_characters:
            return "gopher_long_words"
        if len(_HAS_LETTER.findall(text)) < self.min_words_with_letters * len(words):
            return "gopher_few_letters"
        if len(STOP_WORDS.intersection(words)) < self.min_stop_words:
            return "gopher_stop_words"
        return self._either(text, len(words))

    def _chinese(self, text: str) -> str | None:
        units = CHINESE_UNIT.findall(text)
        if len(units) < max(self.min_chinese_characters, 1):
            return "gopher_short"
        numbers = sum(map(str.isdecimal, units))
        if len(units) - numbers < self.min_chinese_units_with_letters * len(units):
            return "gopher_few_letters"
        distinct = set(units)
        latin = sum(map(str.isascii, units)) - numbers
        han = len(units) - numbers - latin
        if han < self.min_han_of_letters * (han + latin):
            return "gopher_few_han"
        stops = max(len(STOP_CHARACTERS & distinct), len(CLASSICAL_STOP_CHARACTERS & distinct))
        if han >= _LONG_TEXT and stops < self.min_stop_words:
            return "gopher_stop_words"
        return self._either(text, latin + numbers + han / HAN_PER_WORD)

    def _either(self, text: str, words: float) -> str | None:
        """The rules that are the same for both."""
        if words > self.max_words:
            return "gopher_long"
        ellipses = text.count("...") + text.count("…")
        if max(text.count("#"), ellipses) > self.max_symbols_per_word * words:
            return "gopher_symbols"
        lines = lines_of(text)
        if sum(map(_BULLETS.__contains__, [line[0] for line in lines])) > self.max_bullet_lines * len(lines):
            return "gopher_bullets"
        if ellipses and sum(line.endswith(_ELLIPSES) for line in lines) > self.max_ellipsis_lines * len(lines):
            return "gopher_ellipsis_lines"
        return None
