"""Recomputed activations change no number, and are not kept."""

import pytest
import torch
from direct_steps import MICRO_BATCH, DirectRun, small_config
from megatron.core.transformer.mlp import MLP

from megatron_recipe import recompute
from megatron_recipe.recompute import RecomputedActivationMLP


@pytest.fixture(scope="module")
def kept(module_groups: None) -> DirectRun:
    """Three steps that keep every activation."""
    run = DirectRun(small_config("memory.recompute=none"))
    run.losses = run.steps(3)
    run.backward()
    return run


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_losses_gradients_and_weights_are_those_without(kept, recompute):
    run = DirectRun(small_config(f"memory.recompute={recompute}"))
    assert run.steps(3) == kept.losses
    run.backward()
    expected = kept.gradients()
    assert all(gradient.abs().max() > 0 for gradient in expected.values())
    assert [name for name, gradient in run.gradients().items() if not torch.equal(gradient, expected[name])] == []


def test_auto_that_nobody_resolved_keeps_everything(kept):
    (chunk,) = DirectRun(small_config("memory.recompute=auto")).model
    assert {type(module) for module in chunk.modules() if isinstance(module, MLP)} == {MLP}
    assert chunk.config.recompute_granularity is None


def saved_bytes(run: DirectRun) -> int:
    """Bytes that autograd holds for the backward pass of one micro-batch, each storage once."""
    batch = run.micro_batches(0)[0]
    saved: list[torch.UntypedStorage] = []

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor.untyped_storage())
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in run.model[0].parameters()}
    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        loss = run.model[0](batch["tokens"], batch["position_ids"], attention_mask=None, labels=batch["labels"]).sum()
    held = {storage.data_ptr(): storage.size() for storage in saved if storage.data_ptr() not in weights}
    assert loss.requires_grad
    return sum(held.values())


def test_the_activation_is_not_held(module_groups, monkeypatch):
    held = saved_bytes(DirectRun(small_config("memory.recompute=selective")))
    model = small_config().model
    tokens = MICRO_BATCH * model.sequence_length_tokens
    assert saved_bytes(DirectRun(small_config("memory.recompute=full"))) < held / 2
    monkeypatch.setattr(recompute, "_Refill", lambda *_: lambda gradient: None)
    without = saved_bytes(DirectRun(small_config("memory.recompute=selective")))
    assert without - held == model.num_layers * tokens * model.ffn_hidden_size * 4


def test_validation_leaves_the_activation_alone(module_groups):
    """Without a backward pass nothing would fill it again, and nothing needs it."""
    run = DirectRun(small_config("memory.recompute=selective"))
    assert any(isinstance(module, RecomputedActivationMLP) for module in run.model[0].modules())
    with torch.no_grad():
        loss = run.backward(forward_only=True)
    assert loss == pytest.approx(DirectRun(small_config()).backward(), rel=1e-6)
