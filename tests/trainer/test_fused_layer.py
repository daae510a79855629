"""A fused layer is Megatron's layer, gradient by gradient; quack's kernels themselves are tested on a GPU."""

from pathlib import Path

import pytest
import torch
from direct_steps import DirectRun, small_config
from megatron.core.models.backends import LocalSpecProvider
from megatron.core.transformer.transformer_block import TransformerBlockSubmodules
from torch_kernels import TorchKernels

from megatron_recipe import model
from megatron_recipe.fused_layer import FusedFeedForward, fused_layer_spec
from megatron_recipe.local_layers import CausalAttention, RMSNorm


class Backend(LocalSpecProvider):
    """Megatron's local modules with the attention and the norm of this project."""

    def core_attention(self) -> type:
        return CausalAttention

    def layer_norm(self, *_: object, **__: object) -> type:
        return RMSNorm


def fused_run(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> DirectRun:
    """A run whose layers are fused ones, in plain torch."""

    def spec(config, *_: object) -> TransformerBlockSubmodules:
        layer = fused_layer_spec(Backend(), TorchKernels(), qk_norm=config.qk_layernorm)
        return TransformerBlockSubmodules(layer_specs=[layer] * config.num_layers, layer_norm=RMSNorm)

    with monkeypatch.context() as patch:
        patch.setattr(model, "layer_spec", spec)
        return DirectRun(small_config(*overrides))


@pytest.mark.parametrize("overrides", [(), ("model.qk_norm=true",), ("memory.recompute=full",)])
def test_losses_and_gradients_are_megatrons(module_groups, monkeypatch, overrides):
    plain, fused = DirectRun(small_config(*overrides)), fused_run(monkeypatch, *overrides)
    assert any(isinstance(module, FusedFeedForward) for module in fused.model[0].modules())
    for _ in range(3):
        assert fused.step() == pytest.approx(plain.step(), rel=1e-5)
    plain.backward()
    fused.backward()
    expected, gradients = plain.gradients(), fused.gradients()
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-4, atol=1e-4)


def test_a_checkpoint_goes_either_way(module_groups, monkeypatch, tmp_path: Path):
    plain = DirectRun(small_config())
    plain.steps(2)
    plain.save(tmp_path / "plain")
    expected = plain.steps(2)
    fused = fused_run(monkeypatch)
    fused.load(tmp_path / "plain", done=2)
    assert [value for step in fused.steps(2) for value in step] == pytest.approx(
        [value for step in expected for value in step], rel=1e-5
    )
    fused.save(tmp_path / "fused")
    again = DirectRun(small_config())
    again.load(tmp_path / "fused", done=4)
    assert again.backward() == pytest.approx(fused.backward(), rel=1e-5)


def test_the_activation_is_not_kept(module_groups, monkeypatch):
    """The first product's output and the two norms' are all that a feed-forward keeps."""
    kept: list[tuple[int, ...]] = []
    run = fused_run(monkeypatch)
    feed_forward = next(module for module in run.model[0].modules() if isinstance(module, FusedFeedForward))
    width, ffn = run.config.model.hidden_size, run.config.model.ffn_hidden_size
    hidden = torch.randn(8, 2, width, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tuple(tensor.shape)), lambda _: None):
        feed_forward(hidden, hidden)
    assert sorted(kept) == sorted([(16, width), (16, 2 * ffn)])


def test_gathered_weights_are_waited_for(module_groups, monkeypatch):
    """The linear modules are not called, but their hooks are: DistributedDataParallel gathers weights in them."""
    run = fused_run(monkeypatch)
    feed_forward = next(module for module in run.model[0].modules() if isinstance(module, FusedFeedForward))
    called: list[torch.nn.Module] = []
    for linear in (feed_forward.linear_fc1, feed_forward.linear_fc2):
        linear.register_forward_pre_hook(lambda module, _: called.append(module))
    run.backward(forward_only=True)
    assert called.count(feed_forward.linear_fc1) == called.count(feed_forward.linear_fc2) == len(run.micro_batches(0))
