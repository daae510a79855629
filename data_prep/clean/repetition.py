"""Drops documents that repeat themselves: lists of the same line, templates filled in a hundred times."""

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter

from data_prep.dedup.shingles import shingle_hashes

ARRAY_FROM_RUNS = 1000
"""Shorter texts are done sooner with a set of strings than with a dozen calls of numpy."""


class RepetitionFilter(BaseFilter):
    """Drop documents that repeat lines (`repeated_lines`) or passages (`repeated_passages`).

    Gopher (Rae et al. 2021, arXiv 2112.11446, table A1) measures repeated lines and word n-grams. Passages here are
    runs of characters, so that the rule is the same for Chinese, which has no spaces between words.

    Args:
        max_repeated_lines: greatest share of the characters in lines that occurred before in the document.
        passage_characters: length of the runs compared; 24 Latin characters are four or five words.
        max_repeated_passages: greatest share of runs that occurred before.
    """

    name = "🔁 Repetition"

    def __init__(
        self, max_repeated_lines: float = 0.5, passage_characters: int = 24, max_repeated_passages: float = 0.6
    ) -> None:
        super().__init__()
        self.max_repeated_lines = max_repeated_lines
        self.passage_characters = passage_characters
        self.max_repeated_passages = max_repeated_passages

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        if repeated_lines(doc.text) > self.max_repeated_lines:
            return False, "repeated_lines"
        if repeated_passages(doc.text, self.passage_characters) > self.max_repeated_passages:
            return False, "repeated_passages"
        return True


def repeated_lines(text: str) -> float:
    """Share of the characters, white space at line ends left out, that stand in lines which occurred before."""
    lines = [stripped for line in text.splitlines() if (stripped := line.strip())]
    return 1 - sum(map(len, set(lines))) / max(sum(map(len, lines)), 1)


def repeated_passages(text: str, characters: int) -> float:
    """Share of the runs of `characters` characters, white space collapsed, that occurred before in `text`."""
    text = " ".join(text.split())
    num_runs = max(len(text) - characters + 1, 1)
    if num_runs < ARRAY_FROM_RUNS:
        return 1 - len({text[start : start + characters] for start in range(num_runs)}) / num_runs
    hashes = np.sort(shingle_hashes(text, characters))
    return np.count_nonzero(hashes[1:] == hashes[:-1]) / num_runs
