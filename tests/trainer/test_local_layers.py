"""The two parts that stand in for Transformer Engine compute what Megatron's and PyTorch's own compute."""

import pytest
import torch
from megatron.core.transformer.dot_product_attention import DotProductAttention
from megatron.core.transformer.enums import AttnMaskType

from megatron_recipe import model
from megatron_recipe.local_layers import CausalAttention, RMSNorm
from megatron_recipe.recipes import load_config

LENGTH, BATCH, HEAD_DIM = 33, 3, 16


def causal_mask() -> torch.Tensor:
    """Megatron's convention: True where attention is forbidden."""
    return torch.triu(torch.ones(1, 1, LENGTH, LENGTH, dtype=torch.bool), diagonal=1)


def attend(attention_class: type, groups: int, mask: torch.Tensor | None) -> list[torch.Tensor]:
    """Output and gradients of one attention over fixed queries, keys and values."""
    overrides = ("model.num_heads=4", f"model.num_kv_groups={groups}", f"model.head_dim={HEAD_DIM}")
    config = model.transformer_config(load_config("gpt_tiny_cpu", overrides))
    attention = attention_class(config, layer_number=1, attn_mask_type=AttnMaskType.causal, attention_type="self")
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(LENGTH, BATCH, heads, HEAD_DIM, generator=generator).requires_grad_()
        for heads in (4, groups, groups)
    ]
    output = attention(*inputs, mask)
    assert output.shape == (LENGTH, BATCH, 4 * HEAD_DIM)
    (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
    return [output.detach(), *(tensor.grad for tensor in inputs)]


@pytest.mark.parametrize("groups", [4, 2, 1])
@pytest.mark.parametrize("with_mask", [False, True])
def test_causal_attention_equals_megatrons(megatron_groups, groups, with_mask):
    ours = attend(CausalAttention, groups, causal_mask() if with_mask else None)
    theirs = attend(DotProductAttention, groups, causal_mask())
    torch.testing.assert_close(ours[0], theirs[0], rtol=0, atol=1e-6)
    torch.testing.assert_close(ours[1:], theirs[1:], rtol=1e-6, atol=1e-5)


def test_a_later_token_changes_nothing_before_it(megatron_groups):
    config = model.transformer_config(load_config("gpt_tiny_cpu"))
    attention = CausalAttention(config, layer_number=1, attn_mask_type=AttnMaskType.causal, attention_type="self")
    query = torch.randn(LENGTH, 1, 4, 32)
    key, value = torch.randn(2, LENGTH, 1, 2, 32)
    before = attention(query, key, value)
    key[20:], value[20:] = 7.0, 7.0
    after = attention(query, key, value)
    assert torch.equal(before[:20], after[:20]) and not torch.allclose(before[20:], after[20:])


@pytest.mark.parametrize("sequence_parallel", [False, True])
def test_norm_is_by_the_formula_and_marked_for_megatron(megatron_groups, sequence_parallel):
    overrides = ("parallel.tensor=2", f"parallel.sequence_parallel={str(sequence_parallel).lower()}")
    norm = RMSNorm(model.transformer_config(load_config("gpt_tiny_cpu", overrides)), 8, eps=1e-3)
    values = torch.randn(5, 8)
    expected = values / (values.square().mean(dim=-1, keepdim=True) + 1e-3).sqrt()
    torch.testing.assert_close(norm(values), expected)
    assert norm.weight.sequence_parallel is sequence_parallel
