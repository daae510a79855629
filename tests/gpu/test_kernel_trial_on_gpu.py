"""On a GPU: the trials of fast kernels pass where these work, and leave the run's random numbers alone."""

import pytest
import torch

from megatron_recipe import kernel_trial
from megatron_recipe.kernels import FLASH_ATTENTION, HOPPER, QUACK, is_installed

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < HOPPER, reason="needs a Hopper GPU"
)


@pytest.mark.parametrize(
    ("package", "error"),
    [(QUACK, kernel_trial.quack_error), (FLASH_ATTENTION, kernel_trial.flash_attention_error)],
)
def test_a_package_that_works_is_used(package, error):
    if not is_installed(package):
        pytest.skip(f"needs {package}")
    torch.cuda.manual_seed(7)
    before = torch.cuda.get_rng_state()
    assert error() < kernel_trial.LARGEST_ERROR / 2
    assert kernel_trial.runs_here(package)
    assert torch.equal(torch.cuda.get_rng_state(), before)
