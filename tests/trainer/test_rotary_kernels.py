"""RoPE's kernels by Triton's interpreter against plain torch; on a GPU: tests/gpu/test_rotary_on_gpu.py."""

import importlib
import sys

import pytest
import torch
from plain_rope import turned

LENGTH, BATCH = 5, 3


@pytest.fixture
def kernels(monkeypatch):
    pytest.importorskip("triton")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.delitem(sys.modules, "megatron_recipe.rotary_kernels", raising=False)
    module = importlib.import_module("megatron_recipe.rotary_kernels")
    yield module
    del sys.modules["megatron_recipe.rotary_kernels"]  # the next import is not the interpreter's


@pytest.mark.parametrize(("groups", "per_group", "width"), [(2, 4, 16), (3, 1, 8), (1, 2, 12)])
def test_it_turns_and_turns_back(kernels, groups, per_group, width):
    angles = (torch.rand(LENGTH + 1, 1, 1, width // 2) * 100).repeat(1, 1, 1, 2)
    widths = [per_group * width, width, width]
    mixed = torch.randn(LENGTH, BATCH, groups, sum(widths), requires_grad=True)
    exact = mixed.detach().clone().requires_grad_()
    outs = kernels.turned_parts(mixed, angles, angles, widths)
    expected = turned(exact, angles[:LENGTH], widths)
    for out, reference in zip(outs, expected, strict=True):
        torch.testing.assert_close(out, reference)
    gradients = [torch.randn_like(out) for out in outs]
    (gradient,) = torch.autograd.grad(outs, mixed, gradients)
    (reference,) = torch.autograd.grad(expected, exact, gradients)
    torch.testing.assert_close(gradient, reference)
