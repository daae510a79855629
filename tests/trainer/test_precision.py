"""Weight types, the FP16 loss scale and its place in a checkpoint, the FP8 settings."""

import math

import pytest
import torch
from direct_steps import DirectRun, small_config
from megatron.core import dist_checkpointing

from megatron_recipe import model
from megatron_recipe.precision import loss_scale, model_settings

PLAIN = "parallel.distributed_optimizer=false"
FP16 = ("precision.dtype=fp16", "precision.initial_loss_scale=64", "precision.loss_scale_window_steps=3")


@pytest.mark.parametrize("dtype", ["bf16", "fp16"])
@pytest.mark.parametrize("more", [(), (PLAIN,)], ids=["distributed optimizer", "plain"])
def test_half_precision_follows_fp32(module_groups, dtype, more):
    exact = DirectRun(small_config(*more)).steps(6)
    rounded = DirectRun(small_config(*FP16, f"precision.dtype={dtype}", *more))
    assert {parameter.dtype for parameter in rounded.model[0].parameters()} == {
        torch.bfloat16 if dtype == "bf16" else torch.float16
    }
    found = rounded.steps(6)
    assert found != exact
    for (loss, norm), (expected_loss, expected_norm) in zip(found, exact, strict=True):
        assert loss == pytest.approx(expected_loss, rel=0.005)
        assert norm == pytest.approx(expected_norm, rel=0.05)


def test_only_fp16_scales_the_loss(module_groups):
    for dtype, scale in (("fp32", None), ("bf16", None), ("fp16", 64.0)):
        assert loss_scale(DirectRun(small_config(*FP16, f"precision.dtype={dtype}")).optimizer) == scale


def test_the_scale_doubles_after_its_window_and_falls_with_an_overflow(module_groups):
    run = DirectRun(small_config(*FP16))
    scales = []
    for _ in range(6):
        run.step()
        scales.append(loss_scale(run.optimizer))
    assert scales == [64, 64, 128, 128, 128, 256]
    weights = run.weights()
    run.optimizer.chained_optimizers[0].grad_scaler._scale.fill_(2.0**40)
    assert [math.isnan(run.step()[1]) for _ in range(3)] == [True] * 3
    # the first overflow of a window is forgiven
    assert loss_scale(run.optimizer) == 2.0**38
    assert all(torch.equal(weight, weights[name]) for name, weight in run.weights().items())


@pytest.mark.parametrize("more", [(), (PLAIN,)], ids=["distributed optimizer", "plain"])
def test_a_checkpoint_keeps_the_scale_and_its_place_in_the_window(module_groups, tmp_path, more):
    straight = DirectRun(small_config(*FP16, *more))
    straight.steps(5)
    assert loss_scale(straight.optimizer) == 128
    straight.save(tmp_path / "checkpoint")
    resumed = DirectRun(small_config(*FP16, *more, "train.seed=99"))
    resumed.load(tmp_path / "checkpoint", straight.done)
    assert loss_scale(resumed.optimizer) == 128
    assert resumed.steps(2) == straight.steps(2)
    assert loss_scale(resumed.optimizer) == loss_scale(straight.optimizer) == 256  # the sixth good step


def test_a_scale_that_was_not_loaded_would_show(module_groups, tmp_path):
    straight = DirectRun(small_config(*FP16))
    straight.steps(5)
    straight.save(tmp_path / "checkpoint")
    common = dist_checkpointing.load_common_state_dict(str(tmp_path / "checkpoint"))
    scaler = common["optimizer"]["grad_scaler"]
    assert float(scaler["scale"]) == 128 and scaler["growth_tracker"] == 2


@pytest.mark.parametrize(
    ("kind", "number_format"), [("delayed", "hybrid"), ("tensorwise", "hybrid"), ("blockwise", "e4m3")]
)
def test_fp8_settings_are_ones_that_megatron_takes(module_groups, kind, number_format):
    config = small_config("precision.dtype=bf16", f"precision.fp8={kind}")
    made = model.transformer_config(config)
    assert (made.fp8, made.fp8_recipe, made.bf16) == (number_format, kind, True)
    assert "fp8" not in model_settings(small_config().precision)
