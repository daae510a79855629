"""Load the weights that a run begins with: `train.init_from`."""

from pathlib import Path
from typing import Any

from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.core import CheckpointingException

from megatron_recipe.checkpoint import Training, damage_to_any
from megatron_recipe.config import Config
from megatron_recipe.errors import CheckpointError
from megatron_recipe.init_from import find_weights
from megatron_recipe.parallel import Ranks

NOT_A_WEIGHT = "_extra_state"
"""Transformer Engine's FP8 scales, which begin anew like the optimizer; a checkpoint from elsewhere has none."""


def take_initial_weights(training: Training, config: Config, ranks: Ranks) -> Path:
    """Put the weights of `train.init_from` into the model, whatever layout wrote them. All ranks call it.

    Optimizer states, schedule and counters stay those of step 0. Returns the checkpoint folder.
    Raises CheckpointError where a file is damaged or lacks a weight.
    """
    assert config.train.init_from is not None, "the caller looks"
    folder = find_weights(config.train.init_from)
    if problem := damage_to_any(folder):
        raise CheckpointError(f"train.init_from: {folder}: {problem}; copy or convert it again")
    names = ["model"] if len(training.model) == 1 else [f"model{index}" for index in range(len(training.model))]
    sharded = training.sharded_state(is_loading=True, weights_only=True)
    wanted = {name: _without_scales(sharded[name]) for name in names}
    try:
        loaded = dist_checkpointing.load(wanted, str(folder))
    except (CheckpointingException, OSError, EOFError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"train.init_from: {folder}: cannot be read: {type(error).__name__}: {reason}; copy or convert it again"
        ) from error
    for name, chunk in zip(names, training.model, strict=True):
        lacking = chunk.module.load_state_dict(loaded[name], strict=False).missing_keys
        assert all(NOT_A_WEIGHT in key for key in lacking), f"not loaded: {lacking}"
    # the optimizer's own FP32 copies were made of the random weights
    training.optimizer.reload_model_params()
    return folder


def _without_scales(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if NOT_A_WEIGHT not in name}
