"""The n-grams in which documents and evaluation items are compared: 13 words or 20 Chinese characters, hashed in bulk.

GPT-3 (arXiv 2005.14165, appendix C) compares runs of 13 words without case and punctuation, and of down to 8 in sets
with short items. Chinese has no spaces, and 13 characters can be one name (中华人民共和国全国人民代表大会 has 14): an
English word takes about one and a half characters in translation, so that 20 of them say what 13 words do. Words and
characters mix: a word weighs 20 and a character 13, and an n-gram is the shortest run of tokens from a token on that
weighs 260, or 160 for texts that are shorter than that.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.dedup.shingles import mixed, normalised

WORD_WEIGHT, CHARACTER_WEIGHT = 20, 13
LONG = 13 * WORD_WEIGHT
"""Weight of an n-gram: 13 words or 20 characters."""
SHORT = 8 * WORD_WEIGHT
"""Of one of a short text: 8 words or 13 characters."""

SEPARATOR, WORD, CHARACTER = 0, 1, 2
_SCRIPTS_OF_CHARACTERS = (
    (0x3005, 0x3007),  # 々〆〇
    (0x3040, 0x30FF),  # kana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
"""Where each character is a token."""

Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)  # exists, since the base is odd
MANY_VALUES = 1 << 20
"""Powers for so many are kept, for longer texts they are made anew."""


@dataclass(frozen=True)
class Ngrams:
    """All n-grams of a batch of texts in order, with repetitions; arrays of one length."""

    hashes: Hashes
    text: Numbers
    """Which text of the batch an n-gram is of."""
    first: Numbers
    """Its first token's number in the batch: neighbours differ by one."""
    start: Numbers
    """Its first character in `joined`."""
    end: Numbers
    """The character after its last."""
    joined: str
    """The normalised texts."""


@dataclass(frozen=True)
class Tokens:
    """The tokens of a batch of texts; arrays of one length but for `before`."""

    hashes: Hashes
    text: Numbers
    start: Numbers
    end: Numbers
    before: Numbers
    """Weight of all tokens before each, and of all."""
    joined: str

    def ngrams(self, weight: int) -> Ngrams:
        """The n-grams of at least this weight; a text that weighs less has none."""
        count = len(self.hashes)
        target = self.before[:-1] + weight
        ends = np.minimum(np.arange(count) + weight // WORD_WEIGHT, count)
        # at most 7 rounds, for a text of characters alone; a search takes longer
        while (is_light := (self.before[ends] < target) & (ends < count)).any():
            ends += is_light
        first = np.flatnonzero(self.before[ends] >= target)
        last = ends[first] - 1
        of_one_text = self.text[last] == self.text[first]
        first, last = first[of_one_text], last[of_one_text]
        hashes = mixed(_segment_hashes(self.hashes, first, last + 1))
        return Ngrams(hashes, self.text[first], first, self.start[first], self.end[last], self.joined)


def tokens_of(texts: Sequence[str]) -> Tokens:
    """The tokens of texts, which are normalised here. Memory: 60 bytes a character."""
    normal = [normalised(text) for text in texts]
    joined = "\n".join(normal)  # a separator, which normalised texts do not contain
    code_points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    starts, ends, weights = _cut(code_points)
    hashes = mixed(_segment_hashes(code_points.astype(np.uint64), starts, ends))
    bounds = np.searchsorted(starts, np.cumsum([0, *(len(text) + 1 for text in normal)]))
    text_of = np.repeat(np.arange(len(normal)), np.diff(bounds))
    return Tokens(hashes, text_of, starts, ends, np.concatenate([[0], np.cumsum(weights)]), joined)


def _cut(code_points: npt.NDArray[np.uint32]) -> tuple[Numbers, Numbers, Numbers]:
    """First character, character after the last, and weight of each token."""
    kinds = np.concatenate([[SEPARATOR], _kinds()[code_points], [SEPARATOR]]).astype(np.uint8)
    here, left = kinds[1:], kinds[:-1]
    is_start = (here == CHARACTER) | ((here == WORD) & (left != WORD))
    is_end = (left == CHARACTER) | ((left == WORD) & (here != WORD))
    starts = np.flatnonzero(is_start)
    weights = np.where(here[starts] == CHARACTER, CHARACTER_WEIGHT, WORD_WEIGHT)
    return starts, np.flatnonzero(is_end), weights


@functools.lru_cache(maxsize=1)
def _kinds() -> npt.NDArray[np.uint8]:
    """SEPARATOR, WORD or CHARACTER for each code point; letters, digits and the marks on them make words."""
    categories = (unicodedata.category(chr(code))[0] for code in range(0x110000))
    kinds = np.fromiter((WORD if category in "LNM" else SEPARATOR for category in categories), np.uint8, 0x110000)
    for first, last in _SCRIPTS_OF_CHARACTERS:
        part = kinds[first : last + 1]
        part[part == WORD] = CHARACTER
    return kinds


def _segment_hashes(values: Hashes, starts: Numbers, ends: Numbers) -> Hashes:
    """The sum of values[i] · BASE^(i - start) over each segment, modulo 2^64, from running sums."""
    powers, inverses = _powers(len(values)) if len(values) > MANY_VALUES else _first_powers()
    sums = np.zeros(len(values) + 1, dtype=np.uint64)
    np.cumsum(values * powers[: len(values)], out=sums[1:])
    return (sums[ends] - sums[starts]) * inverses[starts]


@functools.lru_cache(maxsize=1)
def _first_powers() -> tuple[Hashes, Hashes]:
    return _powers(MANY_VALUES)


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """BASE^i and BASE^-i for i < count."""
    factors = np.full((2, count), [[_BASE], [_INVERSE]], dtype=np.uint64)
    factors[:, :1] = 1
    powers, inverses = np.cumprod(factors, axis=1, dtype=np.uint64)
    return powers, inverses
