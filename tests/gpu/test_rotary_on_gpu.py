"""RoPE's kernel on a GPU against Transformer Engine's and plain torch in FP32."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "trainer"))

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

LENGTH, BATCH = 300, 3


@pytest.mark.parametrize(("groups", "per_group", "width"), [(4, 4, 128), (2, 1, 64), (3, 2, 96)])
def test_it_turns_and_turns_back(groups, per_group, width):
    from plain_rope import turned

    from megatron_recipe.rotary_kernels import turned_parts

    frequencies = 500_000 ** (-torch.arange(0, 1, 2 / width, device="cuda"))
    angles = (torch.arange(LENGTH, device="cuda")[:, None] * frequencies).repeat(1, 2)[:, None, None]
    widths = [per_group * width, width, width]
    mixed = torch.randn(LENGTH, BATCH, groups, sum(widths), device="cuda").bfloat16().requires_grad_()
    exact = mixed.detach().float().requires_grad_()
    outs, expected = turned_parts(mixed, angles, angles, widths), turned(exact, angles, widths)
    for out, reference in zip(outs, expected, strict=True):
        torch.testing.assert_close(out.float(), reference, rtol=8e-3, atol=1e-2)
    gradients = [torch.randn_like(out) for out in outs]
    (gradient,) = torch.autograd.grad(outs, mixed, gradients)
    (reference,) = torch.autograd.grad(expected, exact, [one.float() for one in gradients])
    torch.testing.assert_close(gradient.float(), reference, rtol=8e-3, atol=1e-2)
