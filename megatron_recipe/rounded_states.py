"""AdamW's states in BF16 (`optimizer.states=bf16`), in checkpoints.

Transformer Engine's AdamW keeps both running means in BF16 and, of each FP32 master weight, the 16 bits that the BF16
weight lacks. Megatron-Core 0.19 trains with that, and stumbles over checkpoints:

- It calls Transformer Engine without an argument that became necessary, and hands it FP32 values where those bits are
  integers.
- It asks for all states when it wants the settings of the parameter groups, to save and again to load, and Transformer
  Engine makes FP32 of both means for that, on the GPU: 8 bytes a parameter more than training, which a card that needs
  rounded states does not have.
"""

from functools import partial
from typing import Any

import torch
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer
from torch import Tensor

MASTER = "master_param"
"""Transformer Engine's name of the missing bits; Megatron's is `param`."""


def make_loadable(optimizer: DistributedOptimizer) -> None:
    """Let checkpoints be written from this optimizer's states and loaded into them, in the memory that training has."""
    adam = optimizer.optimizer
    _make_states(adam)  # else Megatron makes empty ones beside them to load into
    adam.state_dict = partial(torch.optim.Optimizer.state_dict, adam)
    adam.load_state_dict = partial(_load_groups, adam)
    optimizer.init_state_fn = _make_states
    optimizer._set_main_param_and_optimizer_states = partial(_set_states, optimizer)


def has_rounded_states(optimizer: Any) -> bool:
    """Whether a part of Megatron's optimizer keeps its states so."""
    return bool(optimizer.config.use_precision_aware_optimizer_no_fp8_or_ds_fp8)


def states_of(optimizer: DistributedOptimizer, parameter: Any) -> dict[str, Tensor]:
    """The states of a parameter as they are, without the FP32 copies that Megatron makes of them."""
    group, place = optimizer.model_param_group_index_map[parameter]
    states = optimizer.optimizer.state[optimizer.optimizer.param_groups[group]["params"][place]]
    named = {"param" if name == MASTER else name: state for name, state in states.items()}
    return {name: state for name, state in named.items() if isinstance(state, Tensor)}


def _make_states(adam: Any, _config: Any = None) -> None:
    for group in adam.param_groups:
        for parameter in group["params"]:
            if not adam.state[parameter]:
                adam.initialize_state(parameter, adam.store_param_remainders)


def _load_groups(adam: Any, loaded: dict[str, Any]) -> None:
    """Take the settings of the parameter groups; the states are filled in place, one after the other, later."""
    for group, values in zip(adam.param_groups, loaded["param_groups"], strict=True):
        group.update({name: value for name, value in values.items() if name != "params"})


def _set_states(optimizer: DistributedOptimizer, parameter: Any, loaded: dict[str, Any]) -> None:
    """Put loaded values in place; FP32 holds 16-bit integers and BF16 exactly."""
    for name, state in states_of(optimizer, parameter).items():
        state.copy_(loaded[name].to(torch.int16) if name == "param" else loaded[name])
