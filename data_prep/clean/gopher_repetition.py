"""Gopher's rules of repetition, for English words and Chinese characters."""

from typing import Any

import numpy as np
import numpy.typing as npt
from datatrove.data import Document
from datatrove.pipeline.filters.base_filter import BaseFilter
from pydantic import PositiveFloat

from data_prep.clean.units import CHINESE_UNIT, HAN_PER_WORD, REFRAIN_CHARACTERS, Share, is_chinese_document, repeats
from data_prep.dedup.shingles import mixed

TOP = {2: 0.20, 3: 0.18, 4: 0.16}
"""Words of an n-gram → greatest share of the characters in the most frequent one (Gopher, table A1)."""
REPEATED = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}
"""Words of an n-gram → greatest share of the characters in n-grams that occurred before (Gopher, table A1)."""
CHINESE_TOP = {2: 0.256, 3: 0.201, 4: 0.171}
CHINESE_REPEATED = {5: 0.198, 6: 0.182, 7: 0.167, 8: 0.154, 9: 0.14, 10: 0.127}
"""The same, as FineWeb-2 fitted them to Chinese (arXiv 2506.20920, configs/cmn_Hani.yml), also in words."""
_ODD = np.uint64(0x9E3779B97F4A7C15)
_SHORT = 500
MIN_TOP_COUNT = 3
"""A pair that occurs twice is no repetition: in a poem of 20 characters it would be a fifth of the text."""


class GopherRepetitionFilter(BaseFilter):
    """Drop documents by Gopher's rules of repetition (Rae et al. 2021, arXiv 2112.11446, table A1).

    Reasons: `gopher_repeated_paragraphs`, `gopher_repeated_lines`, `gopher_top_N_gram`, `gopher_repeated_N_grams`.
    In Chinese text an n-gram of N words is one of 1.6 N units (Chinese characters, Latin words), which needs no word
    splitter, with the thresholds of FineWeb-2. Shares are of all characters, as in datatrove.

    An n-gram occurs before if it does anywhere earlier in the text; characters inside several such n-grams count once,
    as the paper asks. So the share falls as N grows, and most texts are done after one N.

    Args:
        max_repeated_lines: greatest share of the lines, and of the paragraphs, that occurred before.
        max_repeated_line_characters: greatest share of the characters in such lines, and in such paragraphs.
        ngram_slack: factor on the thresholds of n-grams: 1 takes the published ones, 2 allows twice the repetition.
    """

    name = "👯 Gopher repetition"

    def __init__(
        self,
        max_repeated_lines: Share = 0.3,
        max_repeated_line_characters: Share = 0.2,
        ngram_slack: PositiveFloat = 1.0,
    ) -> None:
        super().__init__()
        self.max_repeated_lines = max_repeated_lines
        self.max_repeated_line_characters = max_repeated_line_characters
        self.ngram_slack = ngram_slack

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        text = doc.text
        for separator, reason in (("\n\n", "gopher_repeated_paragraphs"), ("\n", "gopher_repeated_lines")):
            parts = [stripped for part in text.split(separator) if (stripped := part.strip())]
            share, characters = repeats(parts)
            too_many = share > self.max_repeated_lines or characters > self.max_repeated_line_characters * len(text)
            if too_many and characters > REFRAIN_CHARACTERS:
                return False, reason
        if ngrams := self._ngrams(text, is_chinese_document(doc)):
            return False, ngrams
        return True

    def _ngrams(self, text: str, chinese: bool) -> str | None:
        units = CHINESE_UNIT.findall(text) if chinese else text.split()
        if chinese and _all_different(units):
            return None
        numbers, lengths = number_units(units)
        top, repeated = (CHINESE_TOP, CHINESE_REPEATED) if chinese else (TOP, REPEATED)
        per_word = HAN_PER_WORD if chinese else 1
        allowed = len(text) * self.ngram_slack
        most = len(units)  # occurrences of the most frequent n-gram, which a longer one cannot exceed
        for words, threshold in top.items():
            size = round(words * per_word)
            if most * longest_ngram(lengths, size) <= threshold * allowed:
                continue
            most, characters = top_ngram(numbers, lengths, size)
            if most >= MIN_TOP_COUNT and characters > threshold * allowed:
                return f"gopher_top_{words}_gram"
        for words, threshold in repeated.items():
            characters = repeated_characters(numbers, lengths, round(words * per_word))
            if characters > threshold * allowed:
                return f"gopher_repeated_{words}_grams"
            if characters <= min(repeated.values()) * allowed:
                return None
        return None


def _all_different(units: list[str]) -> bool:
    """No run of three units occurs twice, so no longer one does: so it is with most poems, and known at once."""
    return len(units) < _SHORT and len(set(zip(units, units[1:], units[2:], strict=False))) == max(len(units) - 2, 0)


def number_units(units: list[str]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """For each unit, a random 64-bit number that equal units share (whatever Python's hash seed), and its characters.

    Returns:
        uint64 and int64, both of len(units).
    """
    distinct = dict.fromkeys(units)
    places = dict(zip(distinct, range(len(distinct)), strict=True))
    at = np.fromiter(map(places.__getitem__, units), dtype=np.int64, count=len(units))
    lengths = np.fromiter(map(len, distinct), dtype=np.int64, count=len(distinct))
    return mixed(np.arange(1, len(distinct) + 1, dtype=np.uint64))[at], lengths[at]


def ngram_hashes(numbers: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    """A hash of each run of `size` units; empty for fewer units."""
    count = max(len(numbers) - size + 1, 0)
    hashes = np.zeros(count, dtype=np.uint64)
    for shift in range(size):
        hashes *= _ODD
        hashes += numbers[shift : shift + count]
    return hashes


def longest_ngram(lengths: npt.NDArray[Any], size: int) -> int:
    """Characters of the longest run of `size` units; 0 where there are fewer."""
    ends = np.concatenate(([0], np.cumsum(lengths)))
    return int((ends[size:] - ends[:-size]).max(initial=0))


def top_ngram(numbers: npt.NDArray[Any], lengths: npt.NDArray[Any], size: int) -> tuple[int, int]:
    """Occurrences of the n-gram that occurs most, and the characters in all of them."""
    hashes = ngram_hashes(numbers, size)
    if not len(hashes):
        return 0, 0
    ordered = np.sort(hashes)
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    counts = np.diff(np.append(starts, len(ordered)))
    most = int(counts.argmax())
    at = int((hashes == ordered[starts[most]]).argmax())
    return int(counts[most]), int(lengths[at : at + size].sum() * counts[most])


def repeated_characters(numbers: npt.NDArray[Any], lengths: npt.NDArray[Any], size: int) -> int:
    """Characters inside n-grams that occurred earlier, each character once."""
    hashes = ngram_hashes(numbers, size)
    # the position stands in the low bits, so that one sort brings equal n-grams together in the order of the text: four
    # times as fast as a stable argsort. 2^17 n-grams leave 47 bits of hash, where two differ with a chance of 1 - 6e-5
    bits = np.uint64(max(len(hashes).bit_length(), 1))
    ordered = np.sort(hashes >> bits << bits | np.arange(len(hashes), dtype=np.uint64))
    same = ordered[1:] >> bits == ordered[:-1] >> bits
    later = (ordered[1:][same] & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    edges = np.zeros(len(numbers) + 1, dtype=np.int64)
    edges[later] += 1  # distinct positions: no index occurs twice
    edges[later + size] -= 1
    return int(lengths[np.cumsum(edges[:-1]) > 0].sum())
