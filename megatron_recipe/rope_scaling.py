"""Llama 3's scaling of the rotary frequencies, with all of its four numbers.

Megatron's GPTModel takes the factor alone and has the other three as constants; here they come from the configuration.
The formula is that of transformers' `llama3` rope type (modeling_rope_utils.py), which tests compare with.
"""

import math
from typing import Any

import torch
from torch import Tensor

from megatron_recipe.config.model import RopeScalingConfig


def scaled_frequencies(frequencies: Tensor, scaling: RopeScalingConfig) -> Tensor:
    """Frequencies in radians a token, [head_dim / 2], after the scaling."""
    turns = scaling.original_length_tokens * frequencies / (2 * math.pi)
    low, high = scaling.low_frequency_factor, scaling.high_frequency_factor
    share_kept = ((turns - low) / (high - low)).clamp(0, 1)
    return torch.lerp(frequencies / scaling.factor, frequencies, share_kept)


def scale_rotary_frequencies(gpt: Any, scaling: RopeScalingConfig) -> None:
    """Scale the frequencies of a GPTModel that has not computed anything yet; a factor of 1 leaves them alone."""
    if scaling.factor != 1:
        rotary = gpt.rotary_pos_emb
        rotary.inv_freq = scaled_frequencies(rotary.inv_freq, scaling)
