"""The formulas for parameters and FLOPs, against the model that Megatron builds."""

import pytest

from megatron_recipe import flops, model
from megatron_recipe.recipes import load_config

ARCHITECTURES = {
    "tied": (),
    "untied": ("model.tied_embeddings=false",),
    "queries and keys normed": ("model.qk_norm=true",),
    "one group, wide heads": ("model.num_kv_groups=1", "model.head_dim=48"),
    "all at once": ("model.tied_embeddings=false", "model.qk_norm=true", "model.num_heads=6", "model.num_kv_groups=3"),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameter_count_is_that_of_the_built_model(megatron_groups, architecture):
    config = load_config("gpt_tiny_cpu", ARCHITECTURES[architecture])
    built = sum(parameter.numel() for parameter in model.build_gpt(config, 1000).parameters())
    assert flops.parameter_count(config.model, model.padded_vocab_size(1000, config.model)) == built


@pytest.mark.parametrize(("vocab_size", "rows"), [(1, 128), (128, 128), (129, 256), (64_000, 64_000)])
def test_the_vocabulary_is_padded_upwards(tiny_config, vocab_size, rows):
    assert model.padded_vocab_size(vocab_size, tiny_config.model) == rows


def test_published_sizes_of_the_recipes():
    """What the recipes' comments say, with their 32,000 vocabulary."""
    for recipe, millions in (("gpt_100m", 101), ("gpt_1b", 1040)):
        count = flops.parameter_count(load_config(recipe).model, 32_000)
        assert count / 1e6 == pytest.approx(millions, rel=0.01)


def test_flops_of_a_token_by_hand():
    settings = ("model.num_layers=1", "model.hidden_size=4", "model.ffn_hidden_size=8", "model.num_heads=2")
    small = load_config(
        "gpt_tiny_cpu", (*settings, "model.num_kv_groups=1", "model.head_dim=2", "model.sequence_length_tokens=16")
    ).model
    # q 4×4, k and v 4×2 each, output 4×4; gate, up, down 4×8 each; output layer 4×10
    weights = 16 + 8 + 8 + 16 + 96 + 40
    scores_and_context = 2 * 2 * 16 * (2 * 2)  # products of two matrices, a multiply and an add each, for all heads
    assert flops.matmul_parameters(small, 10) == weights
    assert flops.flops_per_token(small, 10, causal=False) == 3 * (2 * weights + scores_and_context)
    assert flops.flops_per_token(small, 10, causal=True) == 3 * (2 * weights + scores_and_context / 2)


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756.0),
        ("NVIDIA H200", 989.4),
        ("NVIDIA A100-SXM4-80GB", 311.9),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce GTX 1080", None),
        ("cpu", None),
    ],
)
def test_peaks_are_known_or_none(card, peak):
    assert flops.peak_tflops(card) == peak
