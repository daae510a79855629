"""The n-grams in which documents and evaluation items are compared: 13 words or 20 Chinese characters, hashed in bulk.

GPT-3 (arXiv 2005.14165, appendix C) compares runs of 13 words without case and punctuation. Chinese has no spaces, and
13 characters can be one name (中华人民共和国全国人民代表大会 has 14): an English word takes about one and a half
characters in translation, so that 20 of them say what 13 words do. Words and characters mix: a word weighs 20 and a
character 13, and an n-gram is the shortest run of tokens from a token on that weighs 260.
"""

import functools
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from data_prep.dedup.shingles import mixed, normalised

WORDS, CHARACTERS = 13, 20
WORD_WEIGHT, CHARACTER_WEIGHT = CHARACTERS, WORDS
NGRAM_WEIGHT = WORDS * CHARACTERS

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
MANY_VALUES = 1 << 18
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


def ngrams(texts: Sequence[str]) -> Ngrams:
    """The n-grams of each text; a text of fewer than 13 words or 20 characters has none. Memory: 60 bytes a character.

    Args:
        texts: as they are; they are normalised here.
    """
    normal = [normalised(text) for text in texts]
    joined = "\n".join(normal)  # a separator, which normalised texts do not contain
    code_points = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    starts, ends, weights = _tokens(code_points)
    tokens = mixed(_segment_hashes(code_points.astype(np.uint64), starts, ends))
    text_of = np.searchsorted(np.cumsum([len(text) + 1 for text in normal]), starts, side="right")
    before = np.concatenate([[0], np.cumsum(weights)])
    last = np.searchsorted(before, before[:-1] + NGRAM_WEIGHT) - 1  # its last token, or len(tokens) if there is none
    first = np.flatnonzero(last < len(tokens))
    first = first[text_of[last[first]] == text_of[first]]
    last = last[first]
    hashes = mixed(_segment_hashes(tokens, first, last + 1))
    return Ngrams(hashes, text_of[first], first, starts[first], ends[last], joined)


def _tokens(code_points: npt.NDArray[np.uint32]) -> tuple[Numbers, Numbers, Numbers]:
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
