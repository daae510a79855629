"""Drops documents that are not prose: tables of numbers, markup, ASCII art, encoded data."""

import re
import string

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from data_prep.clean.units import HAN

_NON_ASCII = re.compile("[^\x00-\x7f]+")
_OTHER_LETTERS = re.compile(r"[^\W\d_]+")
_OTHER_DIGITS = re.compile(r"\d+")
_ASCII_LETTERS = string.ascii_letters.encode()
_ASCII_DIGITS = string.digits.encode()
_TAGS = re.compile(r"</?[A-Za-z][^<>\n]{0,200}>|\{\{.*?\}\}|\[!\[.*?\]\(.*?\)|https?://\S+")
_NO_RUN = rf"\s._{HAN}，。、；：！？（）《》“”"  # dots and underscores join names in prose
LONG_RUN = 60
_LONG_RUN = re.compile(rf"(?<![^{_NO_RUN}])[^{_NO_RUN}]{{{LONG_RUN},}}")  # each run tried once


class SymbolFilter(BaseFilter):
    """Drop documents by the make-up of their characters; every share is of the characters that are not white space.

    Letters are Unicode letters, so a Chinese character is a letter. Measured on the installed corpus: half of the
    docstrings have 0.90 letters or more, 99 % over 0.69, dictionary entries 0.75 to 0.90, tables of numbers under 0.45.

    Args:
        min_letters: least share of letters (`few_letters`).
        max_digits: greatest share of digits (`many_digits`).
        max_markup: greatest share inside tags, templates, image links and addresses (`markup`).
        max_long_runs: greatest share in runs of 60 or more characters without a space, dot or underscore: encoded data,
            rulers and minified code (`encoded`). Chinese text, which has no spaces, does not count as a run.
        max_symbol_lines: greatest share in lines with more symbols than letters and digits: ASCII art, rulers, lists of
            operators (`symbol_lines`).
    """

    name = "🔣 Symbols"

    def __init__(
        self,
        min_letters: float = 0.5,
        max_digits: float = 0.3,
        max_markup: float = 0.4,
        max_long_runs: float = 0.25,
        max_symbol_lines: float = 0.4,
    ) -> None:
        super().__init__()
        self.min_letters = min_letters
        self.max_digits = max_digits
        self.max_markup = max_markup
        self.max_long_runs = max_long_runs
        self.max_symbol_lines = max_symbol_lines

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        text = doc.text
        words = text.split()
        characters = max(sum(map(len, words)), 1)
        letters, digits = letters_and_digits(text)
        if digits > self.max_digits * characters:
            return False, "many_digits"
        if _covered(_TAGS, text) > self.max_markup * characters:
            return False, "markup"
        if max(map(len, words), default=0) >= LONG_RUN and _covered(_LONG_RUN, text) > self.max_long_runs * characters:
            return False, "encoded"
        if letters < self.min_letters * characters:
            return False, "few_letters"
        # such lines are more than half symbols, so that a text with few symbols cannot have many of them
        symbols = characters - letters - digits
        if (
            symbols > self.max_symbol_lines * characters / 2
            and _symbol_lines(text) > self.max_symbol_lines * characters
        ):
            return False, "symbol_lines"
        return True


def letters_and_digits(text: str) -> tuple[int, int]:
    """How many characters are Unicode letters, and how many are digits.

    ASCII ones are counted by deleting them from bytes, which is ten times as fast as finding them.
    """
    ascii_part = text.encode("ascii", "ignore")
    letters = len(ascii_part) - len(ascii_part.translate(None, _ASCII_LETTERS))
    digits = len(ascii_part) - len(ascii_part.translate(None, _ASCII_DIGITS))
    if len(ascii_part) == len(text):
        return letters, digits
    rest = "".join(_NON_ASCII.findall(text))
    return letters + _covered(_OTHER_LETTERS, rest), digits + _covered(_OTHER_DIGITS, rest)


def _covered(pattern: re.Pattern[str], text: str) -> int:
    """Characters of `text` inside matches of `pattern`."""
    return sum(map(len, pattern.findall(text)))


def _symbol_lines(text: str) -> int:
    """Characters, white space left out, of the lines that are more than half symbols."""
    lines = ["".join(line.split()) for line in text.splitlines()]
    return sum(len(line) for line in lines if 2 * sum(map(str.isalnum, line)) < len(line))
