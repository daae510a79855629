"""On a GPU: the trials of fast kernels pass where these work, and leave the run's random numbers alone."""

import pytest
import torch

from megatron_recipe import kernel_trial
from megatron_recipe.kernels import HOPPER, PACKAGES, is_installed
from megatron_recipe.recipes import load_config

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < HOPPER, reason="needs a Hopper GPU"
)


@pytest.mark.parametrize("recipe", ["gpt_100m", "gpt_300m", "gpt_1b", "gpt_3b", "gpt_7b"])
@pytest.mark.parametrize("part", PACKAGES)
def test_kernels_that_work_are_used(part, recipe):
    """Each width has tiles of its own."""
    if not is_installed(PACKAGES[part]):
        pytest.skip(f"needs {PACKAGES[part]}")
    config = load_config(recipe)
    trials = {
        "layer": lambda: kernel_trial.fused_layer_error(config.model.hidden_size),
        "attention": kernel_trial.flash_attention_error,
        "loss": lambda: kernel_trial.one_pass_loss_error(32_000, 32_000),
    }
    torch.cuda.manual_seed(7)
    before = torch.cuda.get_rng_state()
    assert trials[part]() < kernel_trial.LARGEST_ERROR / 2
    assert kernel_trial.runs_here(part, config)
    assert torch.equal(torch.cuda.get_rng_state(), before)
