"""On a GPU: every precision trains, recomputed activations and fused weight gradients give the same gradients."""

import sys
from collections.abc import Iterator

import pytest
import torch
from direct_steps import MICRO_BATCH, DirectRun, small_config

from megatron_recipe import model, optimizer, parallel, wgrad_fusion
from megatron_recipe.config import Config
from megatron_recipe.precision import loss_scale

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

# sides of 128, for the blockwise FP8 recipe
MODEL = (
    "model.hidden_size=256",
    "model.ffn_hidden_size=512",
    "model.head_dim=64",
    "model.sequence_length_tokens=128",
    "model.init_std=0.05",
    "schedule.peak_learning_rate=2.0e-3",
)
PRECISIONS = {
    "fp32": ("precision.dtype=fp32",),
    "bf16": ("precision.dtype=bf16",),
    "fp16": ("precision.dtype=fp16", "precision.initial_loss_scale=64"),
    "delayed": ("precision.dtype=bf16", "precision.fp8=delayed"),
    "tensorwise": ("precision.dtype=bf16", "precision.fp8=tensorwise"),
    "blockwise": ("precision.dtype=bf16", "precision.fp8=blockwise"),
}
CAPABILITY = {"bf16": (8, 0), "delayed": (8, 9), "tensorwise": (8, 9), "blockwise": (9, 0)}
STEPS = 12


def gpu_config(precision: str, *overrides: str) -> Config:
    """The model of these tests; skips the test where the card lacks the precision or Transformer Engine is missing."""
    needed = CAPABILITY.get(precision, (0, 0))
    if torch.cuda.get_device_capability() < needed:
        pytest.skip(f"{precision} needs capability {needed[0]}.{needed[1]}")
    if precision in ("delayed", "tensorwise", "blockwise") and not model.transformer_engine_is_there():
        pytest.skip("FP8 needs Transformer Engine")
    return small_config(*MODEL, *PRECISIONS[precision], *overrides)


@pytest.fixture(scope="module", autouse=True)
def groups() -> Iterator[None]:
    with parallel.process_groups(small_config()):
        yield


@pytest.fixture(scope="module")
def exact_losses(groups: None) -> list[float]:
    """Of a run in FP32."""
    return [loss for loss, _ in DirectRun(gpu_config("fp32"), "cuda").steps(STEPS)]


def difference(run: DirectRun, other: DirectRun) -> float:
    """Largest distance of a gradient from the other run's, relative to its norm."""
    expected = other.gradients()
    assert all(gradient.norm() > 0 for gradient in expected.values())
    return max(
        float((found - expected[name]).norm() / expected[name].norm()) for name, found in run.gradients().items()
    )


@pytest.mark.parametrize("precision", ["bf16", "fp16", "delayed", "tensorwise", "blockwise"])
def test_losses_follow_those_of_fp32(exact_losses, precision):
    run = DirectRun(gpu_config(precision), "cuda")
    losses = [loss for loss, _ in run.steps(STEPS)]
    assert losses == pytest.approx(exact_losses, rel=0.02)
    assert losses[-1] < losses[0] - 0.1
    assert run.model[0].config.fp8 == {"blockwise": "e4m3", "bf16": None, "fp16": None}.get(precision, "hybrid")
    assert (loss_scale(run.optimizer) == 64) is (precision == "fp16")


def test_an_fp16_scale_that_is_too_large_comes_down():
    run = DirectRun(gpu_config("fp16", "precision.initial_loss_scale=1.0e12"), "cuda")
    run.steps(4)
    assert loss_scale(run.optimizer) < 1e12


@pytest.mark.parametrize("kind", ["adamw", "sgd", "muon"])
def test_optimizers_learn_in_bf16(kind):
    if kind == "muon":
        pytest.importorskip("emerging_optimizers")
    plain = f"parallel.distributed_optimizer={str(kind == 'adamw').lower()}"
    run = DirectRun(gpu_config("bf16", f"optimizer.kind={kind}", plain), "cuda")
    losses = [loss for loss, _ in run.steps(STEPS)]
    assert losses[-1] < losses[0]
    if kind == "adamw" and model.transformer_engine_is_there():
        assert optimizer.optimizer_name(run.optimizer) == "transformer_engine FusedAdam"


@pytest.fixture(scope="module")
def kept(groups: None) -> DirectRun:
    """Gradients of a step that keeps all activations."""
    run = DirectRun(gpu_config("bf16", "memory.recompute=none"), "cuda")
    run.backward()
    return run


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputed_activations_give_the_same_gradients(kept, recompute):
    run = DirectRun(gpu_config("bf16", f"memory.recompute={recompute}"), "cuda")
    assert run.backward() == pytest.approx(DirectRun(kept.config, "cuda").backward(), rel=1e-4)
    assert difference(run, kept) < 0.01  # attention's backward pass adds in no fixed order


def test_fp8_with_whole_layers_computed_again_has_the_losses_without():
    first, second = (
        [loss for loss, _ in DirectRun(gpu_config("delayed", f"memory.recompute={kind}"), "cuda").steps(4)]
        for kind in ("none", "full")
    )
    assert second == pytest.approx(first, rel=5e-3)


def held_bytes(recompute: str) -> int:
    """Memory that a micro-batch's forward pass leaves for its backward pass."""
    run = DirectRun(gpu_config("bf16", f"memory.recompute={recompute}"), "cuda")
    batch = run.micro_batches(0)[0]

    def forward() -> torch.Tensor:
        return run.model[0](batch["tokens"], batch["position_ids"], attention_mask=None, labels=batch["labels"])

    forward().sum().backward()  # workspaces are there from here on
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    loss = forward()
    torch.cuda.synchronize()
    held = torch.cuda.memory_allocated() - before
    assert loss.requires_grad
    return held


def test_recomputed_activations_are_not_held():
    held = {kind: held_bytes(kind) for kind in ("none", "selective", "full")}
    sizes = gpu_config("bf16").model
    activations = sizes.num_layers * MICRO_BATCH * sizes.sequence_length_tokens * sizes.ffn_hidden_size * 2
    assert held["none"] - held["selective"] == pytest.approx(activations, rel=0.05)
    assert held["full"] < held["none"] - 3 * activations


@pytest.mark.parametrize("tied", ["true", "false"])
@pytest.mark.parametrize("precision", ["bf16", "fp16", "delayed"])
def test_fused_weight_gradients_are_those_without_fusion(monkeypatch, precision, tied):
    if not model.transformer_engine_is_there():
        pytest.skip("needs Transformer Engine")
    config = gpu_config(precision, f"model.tied_embeddings={tied}")
    fused = DirectRun(config, "cuda")
    fused.backward()
    assert wgrad_fusion.NAME in sys.modules and fused.model[0].config.gradient_accumulation_fusion
    plain = model.transformer_config

    def without_fusion(config: Config) -> object:
        made = plain(config)
        made.gradient_accumulation_fusion = False
        return made

    monkeypatch.setattr(model, "transformer_config", without_fusion)
    separate = DirectRun(config, "cuda")
    separate.backward()
    # without fusion each micro-batch's gradient is rounded to 8 or 11 bits before it is added
    assert difference(fused, separate) < 0.01
