"""Optimizer states from a plain checkpoint for the distributed optimizer, and the other way round (FP32 only).

Both keep the moments under the same names in Megatron's format. They differ in two things: the distributed one also
saves its own copy of the weights, and keeps the parameter groups a level deeper
(megatron/core/optimizer/distrib_optimizer.py, optimizer.py). With BF16 weights the plain optimizer's FP32 copies have
other names again; there the layout must stay what it was.
"""

from typing import Any

from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensor, ShardedTensorFactory

OWN_COPY = "optimizer.state.param."


def point_own_copies_at_weights(sharded_optimizer: dict[str, Any]) -> None:
    """Let the distributed optimizer's copies of the weights be read from the model's weights, which they equal."""
    for value in nested_values(sharded_optimizer):
        if isinstance(value, ShardedTensor | ShardedTensorFactory) and value.key.startswith(OWN_COPY):
            value.key = value.key.removeprefix(OWN_COPY)


def groups_from_plain(loaded_optimizer: dict[str, Any]) -> None:
    """Move the parameter groups of a plain checkpoint to where the distributed optimizer looks for them."""
    loaded_optimizer["optimizer"] = {"param_groups": loaded_optimizer.pop("param_groups")}
    loaded_optimizer["param_state_sharding_type"] = "fully_reshardable"


def groups_from_distributed(loaded_optimizer: dict[str, Any]) -> None:
    """Move the parameter groups of a distributed checkpoint to where the plain optimizer looks for them."""
    saved = loaded_optimizer.pop("optimizer")["param_groups"]
    for group, saved_group in zip(loaded_optimizer["param_groups"], saved, strict=True):
        group.update(saved_group)
