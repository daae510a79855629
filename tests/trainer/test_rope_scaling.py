"""Llama 3's rope scaling is transformers'."""

import pytest
import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from megatron_recipe.config.model import RopeScalingConfig
from megatron_recipe.model import build_gpt
from megatron_recipe.recipes import load_config
from megatron_recipe.rope_scaling import scaled_frequencies


@pytest.mark.parametrize(
    ("theta", "factor", "low", "high", "length"),
    [(5e5, 8, 1, 4, 8192), (5e5, 32, 1, 4, 8192), (1e4, 2.5, 0.5, 9, 300), (1e4, 8, 2, 2.001, 64)],
)
def test_frequencies_are_those_of_transformers(theta, factor, low, high, length):
    rope = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": high,
        "original_max_position_embeddings": length,
    }
    reference, _ = ROPE_INIT_FUNCTIONS["llama3"](LlamaConfig(head_dim=128, rope_parameters=rope))
    plain = 1.0 / theta ** (torch.arange(0, 128, 2) / 128)
    ours = scaled_frequencies(plain, RopeScalingConfig.model_validate(settings(factor, low, high, length)))
    torch.testing.assert_close(ours, reference, rtol=1e-6, atol=0)
    assert not torch.allclose(ours, plain)


def settings(factor: float, low: float, high: float, length: int) -> dict[str, float]:
    return {
        "factor": factor,
        "low_frequency_factor": low,
        "high_frequency_factor": high,
        "original_length_tokens": length,
    }


def test_a_built_model_turns_by_them(megatron_groups):
    plain = build_gpt(load_config("gpt_tiny_cpu"), 128).rotary_pos_emb
    scaled = build_gpt(load_config("gpt_tiny_cpu", ("model.rope_scaling.factor=8",)), 128).rotary_pos_emb
    assert torch.equal(scaled.inv_freq, scaled_frequencies(plain.inv_freq, RopeScalingConfig(factor=8)))
    assert scaled.inv_freq[0] == plain.inv_freq[0] and scaled.inv_freq[-1] == plain.inv_freq[-1] / 8
