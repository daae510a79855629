"""SimHash's fingerprints are what the definition says, and all close pairs are found."""

import numpy as np
from made_texts import make_document

from data_prep.dedup.shingles import normalised, shingle_hashes
from data_prep.dedup.simhash import MAX_DISTANCE, find_simhash_duplicates, fingerprints


def test_a_fingerprint_has_the_majority_of_each_bit():
    texts = [normalised(make_document(seed)) for seed in range(3)]
    for text, found in zip(texts, fingerprints(texts).tolist(), strict=True):
        hashes = shingle_hashes(text).tolist()
        expected = sum(1 << bit for bit in range(64) if sum(h >> bit & 1 for h in hashes) * 2 > len(hashes))
        assert found == expected


def test_fingerprints_within_three_bits_are_found_whatever_the_bits():
    generator = np.random.default_rng(1)
    originals = generator.integers(0, 2**63, 200, dtype=np.uint64)
    flips = [
        np.uint64(sum(1 << int(b) for b in generator.choice(64, k, replace=False))) for k in (0, 1, 2, 3, 4, 5) * 30
    ]
    copies = originals[:180] ^ np.array(flips, dtype=np.uint64)
    matched = find_simhash_duplicates(np.concatenate([originals, copies]))
    assert (matched[:200] == -1).all()
    distance = np.bitwise_count(np.array(flips, dtype=np.uint64))
    assert np.array_equal(matched[200:], np.where(distance <= MAX_DISTANCE, np.arange(180), -1))


def test_a_copy_is_not_matched_with_a_removed_one():
    chain = np.array([0, 0b111, 0b111111], dtype=np.uint64)
    assert find_simhash_duplicates(chain).tolist() == [-1, 0, -1]
