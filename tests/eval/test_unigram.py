"""The unigram bar, by hand."""

import json
import math
import shutil
from collections import Counter

import numpy as np
import pytest

from data_prep.manifest import read_manifest
from eval import unigram
from megatron_recipe.errors import DataError


def test_loss_of_a_case_done_by_hand():
    """Counts 2, 1, 0 of 3 tokens, smoothed over 3 ids: 3/6, 2/6, 1/6."""
    loss = unigram.unigram_loss(np.array([2, 1, 0]), np.array([0, 0, 1, 2]))
    assert loss == pytest.approx((2 * math.log(2) + math.log(3) + math.log(6)) / 4)


@pytest.mark.parametrize("at_once", [7, 1 << 26])
def test_counts_are_those_of_the_training_split(dataset, monkeypatch, at_once):
    monkeypatch.setattr(unigram, "TOKENS_AT_ONCE", at_once)
    counts = unigram.unigram_counts(dataset, read_manifest(dataset))
    tokens = Counter(np.fromfile(dataset / "train.bin", dtype=np.uint16).tolist())
    assert counts.tolist() == [tokens[index] for index in range(500)]
    assert counts[1] == 180  # an end for each document


def test_no_other_distribution_of_the_counts_is_better():
    """Cross-entropy on the training tokens themselves is close to their entropy, and never below it."""
    generator = np.random.default_rng(0)
    tokens = generator.zipf(1.5, 100_000) % 300
    counts = np.bincount(tokens, minlength=300)
    shares = counts[counts > 0] / counts.sum()
    entropy = -(shares * np.log(shares)).sum()
    assert entropy <= unigram.unigram_loss(counts, tokens) < entropy + 0.01


def test_ids_outside_the_vocabulary_and_a_missing_file_are_refused(dataset, tmp_path):
    copy = shutil.copytree(dataset, tmp_path / "copy")
    manifest = json.loads((copy / "manifest.json").read_text())
    np.array([3, 500], dtype=np.uint16).tofile(copy / "train.bin")
    with pytest.raises(DataError, match="holds id 500, the vocabulary ends at 499"):
        unigram.unigram_counts(copy, manifest)
    (copy / "train.bin").unlink()
    with pytest.raises(DataError, match="missing or empty"):
        unigram.unigram_counts(copy, manifest)
