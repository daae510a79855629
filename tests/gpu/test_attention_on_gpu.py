"""FlashAttention-4 in Megatron's layout against PyTorch's attention in FP32."""

import pytest
import torch

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

LENGTH, BATCH, HEADS, GROUPS, WIDTH = 512, 3, 8, 2, 128


def relative(out: torch.Tensor, reference: torch.Tensor) -> float:
    """‖out − reference‖ / ‖reference‖."""
    return float((out.float() - reference.float()).norm() / reference.float().norm())


def test_attention_and_its_gradients():
    pytest.importorskip("flash_attn.cute")
    pytest.importorskip("transformer_engine.pytorch")
    from megatron_recipe.flash_attention import causal_attention

    tensors = [
        torch.randn(LENGTH, BATCH, heads, WIDTH, device="cuda").bfloat16().requires_grad_()
        for heads in (HEADS, GROUPS, GROUPS)
    ]
    exact = [tensor.detach().float().requires_grad_() for tensor in tensors]
    query, key, value = (tensor.permute(1, 2, 0, 3) for tensor in exact)
    key, value = (tensor.repeat_interleave(HEADS // GROUPS, dim=1) for tensor in (key, value))
    reference = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    reference = reference.permute(2, 0, 1, 3).flatten(2)
    out = causal_attention(*tensors)
    assert out.is_contiguous() and relative(out, reference) < 6e-3
    gradient = torch.randn_like(out)
    gradients = torch.autograd.grad(out, tensors, gradient)
    expected = torch.autograd.grad(reference, exact, gradient.float())
    for one, other in zip(gradients, expected, strict=True):
        assert relative(one, other) < 1e-2
