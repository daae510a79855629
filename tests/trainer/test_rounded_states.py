"""Rounded states are saved and loaded in place, with an optimizer that behaves as Transformer Engine's does."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from megatron_recipe.rounded_states import make_loadable, states_of

STATES = {"exp_avg": torch.bfloat16, "exp_avg_sq": torch.bfloat16, "master_param": torch.int16}


class Adam(torch.optim.Optimizer):
    """States that its own state_dict() makes FP32 of, and its load_state_dict() replaces."""

    store_param_remainders = True

    def __init__(self, parameters: list[torch.nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 1.0, "betas": (0.9, 0.95)})

    def initialize_state(self, parameter: torch.nn.Parameter, store_param_remainders: bool) -> None:
        assert store_param_remainders
        self.state[parameter] = {name: torch.zeros_like(parameter, dtype=dtype) for name, dtype in STATES.items()}

    def state_dict(self) -> dict[str, Any]:
        raise AssertionError("8 bytes a parameter more")

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        raise AssertionError("all states made anew")


@pytest.fixture
def optimizer() -> Any:
    parameters = [torch.nn.Parameter(torch.ones(3, dtype=torch.bfloat16)) for _ in range(2)]
    places = {parameter: (0, place) for place, parameter in enumerate(parameters)}
    made = SimpleNamespace(optimizer=Adam(parameters), model_param_group_index_map=places)
    make_loadable(made)  # type: ignore[arg-type]
    return made


def test_states_are_there_from_the_start(optimizer):
    for states in optimizer.optimizer.state.values():
        assert {name: state.dtype for name, state in states.items()} == STATES
        assert not any(state.any() for state in states.values())


def test_what_is_saved_is_no_copy(optimizer):
    adam = optimizer.optimizer
    saved, (first, _) = adam.state_dict(), adam.state.values()
    assert saved["param_groups"][0]["lr"] == 1.0 and saved["param_groups"][0]["params"] == [0, 1]
    assert all(saved["state"][0][name].data_ptr() == first[name].data_ptr() for name in STATES)


def test_groups_are_loaded_and_states_stay_in_place(optimizer):
    adam = optimizer.optimizer
    parameter = adam.param_groups[0]["params"][0]
    before = states_of(optimizer, parameter)
    adam.load_state_dict({"state": {}, "param_groups": [{"lr": 0.5, "step": 7, "params": [0, 1]}]})
    group = adam.param_groups[0]
    assert (group["lr"], group["step"], group["betas"]) == (0.5, 7, (0.9, 0.95)) and group["params"][0] is parameter
    values = {"exp_avg": torch.full((3,), 0.5), "exp_avg_sq": torch.ones(3), "param": torch.full((3,), -5.0)}
    optimizer._set_main_param_and_optimizer_states(parameter, values)
    after = states_of(optimizer, parameter)
    assert all(after[name].data_ptr() == state.data_ptr() for name, state in before.items())
    assert after["param"].tolist() == [-5, -5, -5] and after["exp_avg"].tolist() == [0.5, 0.5, 0.5]
