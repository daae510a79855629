"""On a GPU: quack's cross entropy against torch's in FP32, with what Megatron's mask sends back."""

import pytest
import torch

from megatron_recipe.kernel_trial import loss_runs_here
from megatron_recipe.kernels import HOPPER, QUACK, is_installed

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < HOPPER or not is_installed(QUACK),
    reason="needs a Hopper GPU and quack",
)
ROWS = 1000


@pytest.mark.parametrize("vocabulary", [640, 32_000, 50_304, 262_144])
def test_usual_vocabularies_are_taken(vocabulary):
    assert loss_runs_here(vocabulary, vocabulary)
    assert loss_runs_here(vocabulary - 127, vocabulary)


@pytest.mark.parametrize("vocabulary", [640, 32_000, 50_304, 151_936, 262_144])
def test_losses_and_gradients_of_those_that_are_taken_are_torchs(vocabulary):
    """quack 0.6.5 makes NaN of 151,936 where no gradient is wanted."""
    from megatron_recipe.one_pass_loss import cross_entropy

    if not loss_runs_here(vocabulary, vocabulary):
        pytest.skip("Transformer Engine's is taken")

    logits = (3 * torch.randn(ROWS, vocabulary, device="cuda")).bfloat16().requires_grad_()
    labels = torch.randint(vocabulary, (ROWS,), device="cuda")
    mask = (torch.rand(ROWS, device="cuda") > 0.2).float()
    wide = logits.detach().float().requires_grad_()
    exact = torch.nn.functional.cross_entropy(wide, labels, reduction="none")
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(logits, labels), exact.detach(), rtol=1e-4, atol=1e-4)
    losses = cross_entropy(logits * 1, labels)
    torch.testing.assert_close(losses, exact, rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad((losses * mask).sum(), logits)
    (expected,) = torch.autograd.grad((exact * mask).sum(), wide)
    assert float((gradient.float() - expected).norm() / expected.norm()) < 4e-3
    assert not gradient[mask == 0].any()
