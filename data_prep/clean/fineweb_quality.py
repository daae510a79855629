"""FineWeb's rules of quality, for English and Chinese: lists, tables of contents, and pages of repeated lines."""

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from pydantic import NonNegativeFloat

from data_prep.clean.units import (
    CHINESE_ENDS,
    CHINESE_UNIT,
    HAN_PER_WORD,
    LATIN_ENDS,
    REFRAIN_CHARACTERS,
    Count,
    Share,
    is_chinese_document,
    lines_of,
    repeats,
)

_VERSE_ENDS = tuple(end for end in CHINESE_ENDS if not end.isascii())


class FineWebQualityFilter(BaseFilter):
    """Drop documents by the rules that FineWeb added to C4 and Gopher (Penedo et al. 2024, arXiv 2406.17557, 3.6).

    For Chinese the shares are those of FineWeb-2 (arXiv 2506.20920, configs/cmn_Hani.yml). A line of Chinese is short
    below a third of the characters, and one that ends in punctuation is verse or speech, not an item of a list.
    A document without text is `fineweb_empty`.

    Args:
        min_punctuated_lines: least share of lines that end in punctuation (`fineweb_punctuation`).
        min_chinese_punctuated_lines: the same in Chinese; verse that is printed without any is kept.
        max_short_lines: greatest share of short lines (`fineweb_short_lines`).
        short_line_characters: length up to which an English line is short; a Chinese one up to a third of it.
        max_repeated_lines: greatest share of characters in lines that occurred before (`fineweb_repeated_lines`).
            0.1 is the paper's; datatrove's default of 0.01 drops 40 % of the Linux kernel's documentation.
        max_newlines_per_word: greatest number of line ends per word (`fineweb_list`).
        max_chinese_newlines_per_word: the same in Chinese, 1.6 characters a word, over lines without punctuation.
    """

    name = "🍷 FineWeb quality"

    def __init__(
        self,
        min_punctuated_lines: Share = 0.12,
        min_chinese_punctuated_lines: Share = 0.106,
        max_short_lines: Share = 0.67,
        short_line_characters: Count = 30,
        max_repeated_lines: Share = 0.1,
        max_newlines_per_word: NonNegativeFloat = 0.3,
        max_chinese_newlines_per_word: NonNegativeFloat = 0.178,
    ) -> None:
        super().__init__()
        self.min_punctuated_lines = min_punctuated_lines
        self.min_chinese_punctuated_lines = min_chinese_punctuated_lines
        self.max_short_lines = max_short_lines
        self.short_line_characters = short_line_characters
        self.max_repeated_lines = max_repeated_lines
        self.max_newlines_per_word = max_newlines_per_word
        self.max_chinese_newlines_per_word = max_chinese_newlines_per_word

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        lines = lines_of(doc.text)
        if not lines:
            return False, "fineweb_empty"
        characters = sum(map(len, lines))
        if repeats(lines)[1] > max(self.max_repeated_lines * characters, REFRAIN_CHARACTERS):
            return False, "fineweb_repeated_lines"
        reason = self._chinese(doc.text, lines) if is_chinese_document(doc) else self._english(doc.text, lines)
        return (False, reason) if reason else True

    def _english(self, text: str, lines: list[str]) -> str | None:
        if sum(line.endswith(LATIN_ENDS) for line in lines) < self.min_punctuated_lines * len(lines):
            return "fineweb_punctuation"
        if sum(len(line) <= self.short_line_characters for line in lines) > self.max_short_lines * len(lines):
            return "fineweb_short_lines"
        if text.count("\n") > self.max_newlines_per_word * len(text.split()):
            return "fineweb_list"
        return None

    def _chinese(self, text: str, lines: list[str]) -> str | None:
        bare = [line for line in lines if not line.endswith(CHINESE_ENDS)]
        if is_verse(lines):
            return None
        if len(lines) - len(bare) < self.min_chinese_punctuated_lines * len(lines):
            return "fineweb_punctuation"
        if sum(len(line) <= self.short_line_characters / 3 for line in bare) > self.max_short_lines * len(lines):
            return "fineweb_short_lines"
        if len(bare) > self.max_chinese_newlines_per_word * len(CHINESE_UNIT.findall(text)) / HAN_PER_WORD:
            return "fineweb_list"
        return None


def is_verse(lines: list[str]) -> bool:
    """Lines after the first have one length, of four to seven characters or twice that, marks not counted."""
    lengths = [len(line.strip("".join(_VERSE_ENDS))) for line in lines[1:]]
    if not lengths:
        return False
    common = max(set(lengths), key=lengths.count)
    return common in {4, 5, 7, 9, 11, 15} and lengths.count(common) >= 0.9 * len(lengths)
