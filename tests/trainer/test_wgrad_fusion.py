"""Megatron's layers take the stand-in for apex's extension; its matrix product itself is tested on a GPU."""

import sys
from collections.abc import Iterator

import pytest
import torch
from direct_steps import DirectRun, small_config
from megatron.core.tensor_parallel import layers

from megatron_recipe import model, wgrad_fusion


@pytest.fixture
def fusion(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[torch.Size]]:
    """Fusion with torch's matrix product in the place of Transformer Engine's; yields the shapes it was called for."""
    called: list[torch.Size] = []

    def add(inputs: torch.Tensor, output_gradient: torch.Tensor, main_grad: torch.Tensor) -> None:
        called.append(main_grad.shape)
        main_grad.addmm_(output_gradient.t(), inputs)

    plain = model.transformer_config

    def with_fusion(config):
        made = plain(config)
        made.gradient_accumulation_fusion = True
        return made

    monkeypatch.setattr(wgrad_fusion, "add_weight_gradient", add)
    monkeypatch.setattr(model, "transformer_config", with_fusion)
    monkeypatch.setattr(layers, "_grad_accum_fusion_available", layers._grad_accum_fusion_available)
    yield called
    sys.modules.pop(wgrad_fusion.NAME, None)
    vars(layers).pop(wgrad_fusion.NAME, None)


@pytest.mark.parametrize("tied", ["true", "false"])
def test_gradients_are_those_without(module_groups, request, tied):
    settings = small_config(f"model.tied_embeddings={tied}")
    without = DirectRun(settings)
    without.backward()
    called = request.getfixturevalue("fusion")
    fused = DirectRun(settings)
    fused.backward()
    assert len(called) == 4 * (4 * 4 + 1)  # micro-batches, matrices of a layer, layers, output layer
    expected = without.gradients()
    for name, gradient in fused.gradients().items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-5)


def test_apexs_own_extension_is_left_in_place(monkeypatch):
    apexs = object()
    monkeypatch.setitem(sys.modules, wgrad_fusion.NAME, apexs)
    wgrad_fusion.install()
    assert sys.modules[wgrad_fusion.NAME] is apexs
