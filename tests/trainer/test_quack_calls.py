"""The whole trial of a layer through `QuackKernels`, with plain torch behind quack's own functions."""

from contextlib import nullcontext

import fake_quack
import pytest
import torch

from megatron_recipe import kernel_trial, layer_kernels
from megatron_recipe.kernel_trial import LARGEST_ERROR, fused_layer_error


@pytest.fixture
def on_cpu(monkeypatch):
    fake_quack.install(monkeypatch)
    layer_kernels._quacks_name.cache_clear()
    monkeypatch.setattr(
        kernel_trial,
        "numbers",
        lambda *shape, seed=0: torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).bfloat16(),
    )
    monkeypatch.setattr(torch.cuda, "device", lambda index: nullcontext())
    yield
    layer_kernels._quacks_name.cache_clear()


@pytest.mark.parametrize("width", [768, 1024, 2048, 3072])
def test_a_layer_of_quacks_kernels_passes_its_trial(on_cpu, width):
    assert fused_layer_error(width) < LARGEST_ERROR / 2


def test_swapped_gradients_of_a_norm_are_found(on_cpu, monkeypatch):
    right = fake_quack.rmsnorm_bwd_add

    def swapped(gradient, x, add, *others):
        return right(add, x, gradient, *others)

    monkeypatch.setattr(fake_quack, "rmsnorm_bwd_add", swapped)
    fake_quack.install(monkeypatch)
    assert fused_layer_error(768) > 10 * LARGEST_ERROR
