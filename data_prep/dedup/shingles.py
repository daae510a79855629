"""Text as a set of hashed character shingles, in whole arrays: what both duplicate finders and the repetition rule use.

Shingles are runs of characters, not of words: the rule is the same for Chinese, which has no spaces, and needs no word
splitter, which is where datatrove's MinHash spends its time.
"""

import functools
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

SHINGLE_CHARACTERS = 5
"""Long enough that English texts of 100 kB on different subjects have a Jaccard similarity of 0.06 to 0.16 (measured on
docstrings), short enough that one changed character in a Chinese dictionary entry of 80 changes only 5 of them."""

_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing modulo 2^64
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)  # Stafford's variant 13 of the murmur3 finaliser, as in splitmix64
_MIX_2 = np.uint64(0x94D049BB133111EB)

_WIDE_PUNCTUATION = tuple((wide, unicodedata.normalize("NFKC", wide)) for wide in "，：；？！（）％．－／…\u00a0\u3000")


@functools.lru_cache(maxsize=1)  # each duplicate finder asks for the document that passes through the pipeline
def normalised(text: str) -> str:
    """The form in which texts are compared: compatible characters folded (NFKC), no case, white space as one space."""
    return " ".join(folded(text).split())


def folded(text: str) -> str:
    """Compatible characters folded (NFKC) and no case; line ends stay, so that lines are those of the text."""
    if not text.isascii():
        # Chinese punctuation first, each for what NFKC makes of it: the result is the same, since NFKC decomposes
        # before it composes, and a text that has nothing else to fold passes its quick check (twice as fast in all)
        for wide, narrow in _WIDE_PUNCTUATION:
            text = text.replace(wide, narrow)
        text = unicodedata.normalize("NFKC", text)
    return text.casefold()


def shingle_hashes(text: str, characters: int = SHINGLE_CHARACTERS) -> Hashes:
    """Hashes of all runs of `characters` characters in order, with repetitions; at least one, for any text."""
    return batch_shingle_hashes([text], characters)[0]


def batch_shingle_hashes(texts: Sequence[str], characters: int = SHINGLE_CHARACTERS) -> tuple[Hashes, Hashes]:
    """The shingles of many texts in one array.

    Args:
        texts: at least one; a text shorter than `characters` counts as one shingle.

    Returns:
        hashes: uint64, all texts' shingles one after the other.
        offsets: uint64 of len(texts) + 1; text i has hashes[offsets[i]:offsets[i + 1]].
    """
    padded = [text.ljust(characters, "\0") for text in texts]
    lengths = np.array([len(text) for text in padded], dtype=np.int64)
    code_points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    num_windows = len(code_points) - characters + 1
    hashes = np.zeros(num_windows, dtype=np.uint64)
    for shift in range(characters):
        hashes *= _BASE
        hashes += code_points[shift : shift + num_windows]
    inside_one_text = np.ones(len(code_points), dtype=bool)
    ends = np.cumsum(lengths)
    for back in range(1, characters):
        inside_one_text[ends - back] = False
    offsets = np.zeros(len(texts) + 1, dtype=np.uint64)
    offsets[1:] = np.cumsum(lengths - characters + 1)
    return mixed(hashes[inside_one_text[:num_windows]]), offsets


def mixed(hashes: Hashes) -> Hashes:
    """Spread every input bit over all 64 output bits; one to one, and in place."""
    hashes ^= hashes >> np.uint64(30)
    hashes *= _MIX_1
    hashes ^= hashes >> np.uint64(27)
    hashes *= _MIX_2
    hashes ^= hashes >> np.uint64(31)
    return hashes


def shingle_set(text: str) -> Hashes:
    """The distinct shingles of a text's normalised form, sorted."""
    return distinct(shingle_hashes(normalised(text)))


def distinct(numbers: Hashes) -> Hashes:
    """The distinct numbers, sorted: what np.unique gives, which hashes first and takes four times as long."""
    ordered = np.sort(numbers)
    is_new = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=is_new[1:])
    return ordered[is_new]


def jaccard(one: Hashes, other: Hashes) -> float:
    """|A ∩ B| / |A ∪ B| of two sorted sets. Exact but for collisions of 64-bit hashes (1e-13 for 1,000 shingles)."""
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)
