"""Sliding windows: which tokens each reads and scores, and their losses against a plain loop."""

import numpy as np
import pytest
import torch
from hand_losses import hand_losses
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from eval import windows
from eval.windows import Window, batches, token_losses, windows_of

LENGTH = 32


@pytest.fixture(scope="module")
def model(model_dir):
    return AutoModelForCausalLM.from_pretrained(model_dir).eval()


def test_windows_of_a_case_done_by_hand():
    assert list(windows_of(7, 10, 4, 3)) == [
        Window(7, 0, 4, 4),
        Window(7, 3, 7, 3),
        Window(7, 6, 10, 3),
    ]
    assert list(windows_of(0, 9, 4, 4)) == [Window(0, 0, 4, 4), Window(0, 4, 8, 4), Window(0, 5, 9, 1)]
    assert list(windows_of(0, 3, 4, 2)) == [Window(0, 0, 3, 3)]


@pytest.mark.parametrize("stride", [LENGTH, 20, 7])
def test_losses_are_those_of_a_plain_loop(model, stride, monkeypatch):
    monkeypatch.setattr(windows, "LOGITS_AT_ONCE", 500 * 11)  # pieces that end within a window
    generator = np.random.default_rng(0)
    streams = [generator.integers(0, 500, length) for length in (2, 5, LENGTH, LENGTH + 1, 3 * LENGTH + 5)]
    found = token_losses(model, streams, LENGTH, stride, batch_size=2)
    for stream, losses in zip(streams, found, strict=True):
        expected = hand_losses(model, torch.from_numpy(stream), LENGTH, stride)
        assert losses.shape == (len(stream) - 1,)
        np.testing.assert_allclose(losses, expected, atol=1e-4)


def test_a_model_of_another_architecture_is_scored_by_its_logits():
    torch.manual_seed(0)
    other = GPT2LMHeadModel(GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=1, n_head=2)).eval()
    stream = np.random.default_rng(1).integers(0, 50, 40)
    (found,) = token_losses(other, [stream], 16, 9, batch_size=3)
    np.testing.assert_allclose(found, hand_losses(other, torch.from_numpy(stream), 16, 9), atol=1e-4)


def test_batches_hold_a_number_of_tokens_whatever_the_windows_lengths():
    lengths = [3, 9, 10, 1, 1, 5, 5]
    found = list(batches([Window(index, 0, length, length) for index, length in enumerate(lengths)], 20))
    assert [[one.length for one in batch] for batch in found] == [[10, 9], [5, 5, 3, 1], [1]]
    assert sorted(one.stream for batch in found for one in batch) == list(range(7))
