"""SimHash (Charikar 2002; Manku, Jain and Das Sarma 2007), for comparison only: the pipeline removes by MinHash.

A document's 64-bit fingerprint has in each bit what most of its shingles' hashes have there; documents whose
fingerprints differ in at most three bits count as copies. It measures angle and not Jaccard similarity, and in short
documents a changed word flips more than three bits: `benchmarks/dedup.py` shows what that costs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from data_prep.dedup.shingles import batch_shingle_hashes

MAX_DISTANCE = 3
BLOCKS = 4
"""One more than the distance: fingerprints that differ in three bits are equal in one block of 16 bits (pigeonhole)."""
NEIGHBOURS = 64
"""Earlier documents with the same block that a document is compared with."""


def fingerprints(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """The fingerprint of each normalised text."""
    hashes, offsets = batch_shingle_hashes(texts)
    starts = offsets[:-1].astype(np.int64)
    half = np.diff(offsets).astype(np.int64) / 2
    found = np.zeros(len(texts), dtype=np.uint64)
    for bit in range(64):
        ones = np.add.reduceat((hashes >> np.uint64(bit)) & np.uint64(1), starts)
        found |= (ones > half).astype(np.uint64) << np.uint64(bit)
    return found


def find_simhash_duplicates(prints: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    """For each document the first earlier one within MAX_DISTANCE bits that is kept, or -1."""
    later, earlier = _pairs(prints)
    matched = np.full(len(prints), -1, dtype=np.int64)
    for number, candidate in zip(later.tolist(), earlier.tolist(), strict=True):
        if matched[number] < 0 and matched[candidate] < 0:
            matched[number] = candidate
    return matched


def _pairs(prints: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Close pairs, sorted, each once."""
    width = 64 // BLOCKS
    found = [np.zeros((0, 2), dtype=np.int64)]
    for block in range(BLOCKS):
        keys = (prints >> np.uint64(block * width)) & np.uint64((1 << width) - 1)
        order = np.argsort(keys, kind="stable")
        for back in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            later, earlier = order[back:], order[:-back]
            same_block = keys[later] == keys[earlier]
            if not same_block.any():
                break
            later, earlier = later[same_block], earlier[same_block]
            close = np.bitwise_count(prints[later] ^ prints[earlier]) <= MAX_DISTANCE
            found.append(np.stack([later[close], earlier[close]], axis=1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return pairs[:, 0], pairs[:, 1]
