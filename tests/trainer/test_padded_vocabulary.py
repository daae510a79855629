"""The padding of the vocabulary takes no part in the loss."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from megatron_recipe.model import build_gpt
from megatron_recipe.recipes import load_config


@pytest.mark.parametrize("tied", ["true", "false"])
@pytest.mark.parametrize("vocab_size", [100, 128])
def test_the_loss_is_that_of_the_tokens_alone(megatron_groups, vocab_size, tied):
    config = load_config("gpt_tiny_cpu", (f"model.tied_embeddings={tied}", "model.num_layers=1", "model.init_std=0.3"))
    gpt = build_gpt(config, vocab_size)
    tokens = torch.randint(vocab_size, (2, 9))
    inputs, labels = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    positions = torch.arange(8).expand(2, -1)
    losses = gpt(inputs, positions, attention_mask=None, labels=labels)
    losses.sum().backward()
    table = (gpt.embedding.word_embeddings if tied == "true" else gpt.output_layer).weight
    gradient = table.grad.clone()
    assert gradient[:vocab_size].abs().min() > 0 and not gradient[vocab_size:].any()

    logits = gpt(inputs, positions, attention_mask=None)[..., :vocab_size]
    expected = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(2, 8)
    torch.testing.assert_close(losses, expected)
    gpt.zero_grad()
    table.grad = None
    expected.sum().backward()
    torch.testing.assert_close(gradient, table.grad, rtol=1e-3, atol=1e-4)
