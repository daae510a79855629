"""Drops documents with too little text to learn from."""

from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter


class LengthFilter(BaseFilter):
    """Drop documents without text (`empty`) and those with less than `min_characters` (`too_short`).

    Args:
        min_characters: characters a document must have, white space left out. Characters and not words, since Chinese
            has no spaces; a Chinese character carries about as much as three Latin ones. 1 drops only empty ones.
    """

    name = "📏 Length"

    def __init__(self, min_characters: int) -> None:
        super().__init__()
        self.min_characters = min_characters

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        characters = sum(map(len, doc.text.split()))
        if characters == 0:
            return False, "empty"
        if characters < self.min_characters:
            return False, "too_short"
        return True
