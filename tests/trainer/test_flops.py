"""The formulas for parameters and FLOPs, against the model that Megatron builds."""

import pytest
import torch

from megatron_recipe import flops, model
from megatron_recipe.recipes import load_config, recipe_names

ARCHITECTURES = {
    "tied": (),
    "untied": ("model.tied_embeddings=false",),
    "queries and keys normed": ("model.qk_norm=true",),
    "biases of queries, keys and values": ("model.qkv_bias=true", "model.num_kv_groups=2"),
    "one group, wide heads": ("model.num_kv_groups=1", "model.head_dim=48"),
    "all at once": ("model.tied_embeddings=false", "model.qk_norm=true", "model.num_heads=6", "model.num_kv_groups=3"),
}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_parameter_count_is_that_of_the_built_model(megatron_groups, architecture):
    config = load_config("gpt_tiny_cpu", ARCHITECTURES[architecture])
    built = sum(parameter.numel() for parameter in model.build_gpt(config, 1000).parameters())
    assert flops.parameter_count(config.model, model.padded_vocab_size(1000, config.model)) == built


def built_parameters(recipe: str, num_layers: int) -> int:
    """Of the recipe's model with so many layers, as Megatron builds it; on the meta device, without the memory."""
    config = load_config(recipe, (f"model.num_layers={num_layers}", "precision.dtype=fp32", "precision.fp8='off'"))
    with torch.device("meta"):
        gpt = model.build_gpt(config, 32_000)
    return sum(parameter.numel() for parameter in gpt.parameters())


@pytest.mark.parametrize("recipe", recipe_names())
def test_parameter_count_is_exact_for_every_recipe(megatron_groups, recipe):
    """From models of one and two layers: what a layer adds is Megatron's own."""
    settings = load_config(recipe).model
    one, two = built_parameters(recipe, 1), built_parameters(recipe, 2)
    assert flops.parameter_count(settings, 32_000) == one + (settings.num_layers - 1) * (two - one)


def test_parameter_count_of_the_whole_100m(megatron_groups):
    settings = load_config("gpt_100m").model
    assert flops.parameter_count(settings, 32_000) == built_parameters("gpt_100m", settings.num_layers)


@pytest.mark.parametrize(("vocab_size", "rows"), [(1, 128), (128, 128), (129, 256), (64_000, 64_000)])
def test_the_vocabulary_is_padded_upwards(tiny_config, vocab_size, rows):
    assert model.padded_vocab_size(vocab_size, tiny_config.model) == rows


def test_published_sizes_of_the_recipes():
    """What the recipes' comments say, with their 32,000 vocabulary."""
    said = {"gpt_100m": 100, "gpt_300m": 284, "gpt_1b": 1039, "gpt_3b": 2716, "gpt_7b": 7242}
    for recipe, millions in said.items():
        assert flops.parameter_count(load_config(recipe).model, 32_000) / 1e6 == pytest.approx(millions, abs=1)


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
        ("NVIDIA H20", 148.0),
        ("NVIDIA H800", 989.4),
        ("NVIDIA A100-SXM4-80GB", 311.9),
        ("NVIDIA A100-SXM4-40GB", 311.9),
        ("Tesla V100-SXM2-32GB", None),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA GeForce GTX 1080", None),
        ("cpu", None),
    ],
)
def test_peaks_are_known_or_none(card, peak):
    assert flops.peak_tflops(card) == peak
