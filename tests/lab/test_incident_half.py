"""FP16's range and AdamW in it: what is rounded to zero, what becomes infinite, and what a scale saves."""

import math
from types import SimpleNamespace

import pytest
import torch

from megatron_recipe import train, training_run
from megatron_recipe.lab.incident_half import Half, HalfStep, PureHalf, round_model, to_half
from megatron_recipe.recipes import load_config

SMALLEST = 2.0**-24


def test_rounding_is_that_of_fp16() -> None:
    values = torch.tensor([1.0, 1 + 2**-12, 7e4, SMALLEST, SMALLEST / 4])
    assert to_half(values).tolist() == [1.0, 1.0, math.inf, SMALLEST, 0.0]
    assert to_half(torch.tensor([SMALLEST / 4]), 1024.0).item() == SMALLEST / 4


@pytest.mark.parametrize(("scale", "is_lost"), [(1.0, True), (2.0**20, False)])
def test_small_gradients_vanish_unless_they_are_scaled(scale: float, is_lost: bool) -> None:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
    round_model(model, scale)
    (model(torch.ones(2, 4)).sum() * 2.0**-26).backward()
    gradients = torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])
    assert bool((gradients == 0).all()) == is_lost


def test_what_a_recipe_gets() -> None:
    tiny, large = load_config("gpt_tiny_cpu"), load_config("gpt_100m")
    assert Half(loss_scaling=False).settings(tiny) == {}  # it computes in FP32 and is rounded
    unscaled = Half(loss_scaling=False).settings(large)
    assert unscaled["precision.dtype"] == "fp16" and unscaled["precision.initial_loss_scale"] == 1 / 262_144
    assert Half(loss_scaling=True).settings(large) == {"precision.dtype": "fp16"}


def test_the_rounding_is_there_while_it_trains_and_no_longer() -> None:
    tiny, large = load_config("gpt_tiny_cpu"), load_config("gpt_100m")
    plain = train.forward_step
    with Half(loss_scaling=False).inside(tiny):
        assert train.forward_step is not plain
    with Half(loss_scaling=False).inside(large):
        assert train.forward_step is plain
    builder = training_run.optimizer
    before = builder.build_optimizer
    with PureHalf(loss_scaling=True).inside(tiny):
        assert builder.build_optimizer is not before
    assert builder.build_optimizer is before and train.forward_step is plain


def step(gradient: float, weight: float = 0.5, steps: int = 1) -> float:
    """A weight after some steps of AdamW in FP16."""
    parameter = torch.nn.Parameter(torch.tensor([weight]))
    optimizer = torch.optim.SGD([parameter], lr=0.01, weight_decay=0.0)
    config = SimpleNamespace(optimizer=SimpleNamespace(beta1=0.9, beta2=0.95, epsilon=1e-8))
    update = HalfStep(optimizer, config)  # type: ignore[arg-type]
    for _ in range(steps):
        parameter.grad = torch.tensor([gradient])
        update()
    assert set(optimizer.state[parameter]) == {"exp_avg", "exp_avg_sq"}
    return parameter.item()


def test_adamw_in_fp16_divides_by_zero_where_gradients_are_small() -> None:
    assert step(0.5) == pytest.approx(0.49, abs=1e-3)  # the whole learning rate, as AdamW's first step is
    assert step(-0.5, steps=3) == pytest.approx(0.53, abs=2e-3)
    assert not math.isfinite(step(1e-4))  # its square is nothing, and so is epsilon
    assert step(0.5, weight=30.0) == 30.0 - 2**-6  # 0.01 is rounded to what fits beside 30
    assert step(0.5, weight=600.0) == 600.0  # and beside 600 to nothing
