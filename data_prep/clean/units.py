"""What Chinese and English rules count alike: words, lines, repeated parts; bounds of settings.

English rules of the papers count words. Chinese has no spaces, so that datatrove asks a word splitter, which takes
nearly all of its time. Here a Chinese character is a unit of its own and counts as 1/1.6 of a word.
"""

import re
from typing import Annotated

from datatrove.data import Document
from pydantic import Field

from data_prep.clean.language import is_chinese

Share = Annotated[float, Field(ge=0, le=1)]
"""A setting that is a part of a whole; 1 (of a greatest) or 0 (of a least share) turns its rule off."""
Count = Annotated[int, Field(ge=0)]

HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
HAN_PER_WORD = 1.6
"""Characters of a Chinese word in running text (a common estimate: 1.5 to 1.7)."""
CHINESE_UNIT = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")
"""A Chinese character, or a run of other letters and digits."""
LATIN_ENDS = (".", "!", "?", '"', "'", "”", "’", ")", ";", ":")
CHINESE_ENDS = ("。", "！", "？", "；", "，", "：", "…", "”", "’", "」", "』", "）", "》", "、", *LATIN_ENDS, ",")
REFRAIN_CHARACTERS = 40
"""Repeated lines of fewer characters in all are a refrain, however short the text."""
_READ_CHARACTERS = 1000


def is_chinese_document(document: Document) -> bool:
    """By the label that the block `language` wrote, or else by the first 1,000 characters."""
    language = document.metadata.get("language")
    return language == "zh" if language else is_chinese(document.text[:_READ_CHARACTERS])


def lines_of(text: str) -> list[str]:
    """Lines that are not empty, without white space around them."""
    return [stripped for line in text.split("\n") if (stripped := line.strip())]


def repeats(parts: list[str]) -> tuple[float, int]:
    """Share of the parts that occurred before, and the characters of those."""
    distinct = dict.fromkeys(parts)
    repeated = sum(map(len, parts)) - sum(map(len, distinct))
    return 1 - len(distinct) / max(len(parts), 1), repeated
