"""AdamW with one step count a group computes what torch's AdamW computes."""

import copy

import pytest
import torch
from torch.optim import AdamW

from megatron_recipe.group_step_adamw import GroupStepAdamW

SETTINGS = {"lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-8}


def two_groups(parameters: list[torch.nn.Parameter]) -> list[dict[str, object]]:
    return [{"params": parameters[:2], "weight_decay": 0.1}, {"params": parameters[2:], "weight_decay": 0.0}]


def fresh_parameters() -> list[torch.nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((7, 5), (4,), (3, 3), (6,))]


def take_steps(optimizer: torch.optim.Optimizer, steps: range) -> None:
    """Steps with gradients that depend on the step alone, and a rate that changes as a schedule's does."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for group in optimizer.param_groups:
            group["lr"] = SETTINGS["lr"] / (1 + step)
            for parameter in group["params"]:
                parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()


def test_twenty_steps_equal_torchs():
    ours, theirs = fresh_parameters(), fresh_parameters()
    take_steps(GroupStepAdamW(two_groups(ours), **SETTINGS), range(20))
    take_steps(AdamW(two_groups(theirs), **SETTINGS, foreach=True), range(20))
    for mine, other, start in zip(ours, theirs, fresh_parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-7)
        assert not torch.allclose(mine, start, atol=1e-3)


def test_a_state_dict_round_trip_changes_no_bit():
    straight, parameters = fresh_parameters(), fresh_parameters()
    take_steps(GroupStepAdamW(two_groups(straight), **SETTINGS), range(20))
    first = GroupStepAdamW(two_groups(parameters), **SETTINGS)
    take_steps(first, range(10))
    second = GroupStepAdamW(two_groups(parameters), **SETTINGS)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert [group["step"] for group in second.param_groups] == [10, 10]
    take_steps(second, range(10, 20))
    assert all(torch.equal(one, other) for one, other in zip(straight, parameters, strict=True))


def test_a_forgotten_step_count_would_show():
    """The bias correction after ten steps is not that of the first step: what the round trip keeps matters."""
    parameters, straight = fresh_parameters(), fresh_parameters()
    take_steps(GroupStepAdamW(two_groups(straight), **SETTINGS), range(12))
    first = GroupStepAdamW(two_groups(parameters), **SETTINGS)
    take_steps(first, range(10))
    for group in first.param_groups:
        del group["step"]
    take_steps(first, range(10, 12))
    assert not torch.allclose(straight[0], parameters[0], atol=1e-5)


def test_parameters_without_a_gradient_stay():
    first, second = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    optimizer = GroupStepAdamW([first, second], weight_decay=0.5)
    first.grad = torch.ones(3)
    optimizer.step()
    assert torch.equal(second, torch.ones(3)) and not torch.equal(first, torch.ones(3))
    assert second not in optimizer.state


def test_decay_coupled_to_the_gradient_is_refused():
    with pytest.raises(ValueError, match="decoupled"):
        GroupStepAdamW([torch.nn.Parameter(torch.ones(1))], adam_w_mode=False)
