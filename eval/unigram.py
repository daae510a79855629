"""The loss of a model that knows only how frequent each token is: the bar that any trained model must clear.

The model is p(t) = (count of t in the training split + 1) / (tokens of the training split + vocabulary): the unigram
distribution with add-one (Laplace) smoothing, so that a token never seen in training has a finite loss.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_recipe.console import progress
from megatron_recipe.errors import DataError

TOKENS_AT_ONCE = 1 << 26


def unigram_counts(dataset: Path, manifest: dict[str, Any]) -> npt.NDArray[np.int64]:
    """How often each token stands in a dataset's training split, [vocab_size]; reads train.bin once, in pieces.

    A Megatron .bin is nothing but its tokens, one after the other. Raises DataError where it is missing or holds ids
    outside the vocabulary.
    """
    file = dataset / "train.bin"
    vocab_size = manifest["tokenizer"]["vocab_size"]
    if not file.is_file() or not file.stat().st_size:
        raise DataError(f"{file}: missing or empty; prepare the dataset again")
    tokens = np.memmap(file, dtype=manifest["splits"]["train"]["dtype"], mode="r")
    counts = np.zeros(vocab_size, dtype=np.int64)
    with progress("counting tokens", len(tokens), "tokens") as advance:
        for start in range(0, len(tokens), TOKENS_AT_ONCE):
            piece = tokens[start : start + TOKENS_AT_ONCE]
            counted = np.bincount(piece, minlength=vocab_size)
            if len(counted) > vocab_size:
                raise DataError(f"{file}: holds id {len(counted) - 1}, the vocabulary ends at {vocab_size - 1}")
            counts += counted
            advance(len(piece))
    return counts


def unigram_loss(counts: npt.NDArray[np.int64], tokens: npt.NDArray[np.integer]) -> float:
    """Cross-entropy of the smoothed unigram model on `tokens`, in nats per token. Source: module docstring."""
    log_probabilities = np.log(counts + 1) - math.log(counts.sum() + len(counts))
    return float(-log_probabilities[tokens].mean())
