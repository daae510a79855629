"""Optimizer states of a single data-parallel rank, given to a checkpoint as they are, without a copy.

To be readable in any layout, Megatron gathers the distributed optimizer's states over the data-parallel ranks before a
save (megatron/core/optimizer/distrib_optimizer.py, `sharded_param_state_fully_reshardable`): to the host, back to the
GPU, and to the host again, while training waits. A rank that is alone holds every state whole, so that what is saved
can be described in place; the one copy is then that to the host. What is written is the same; with
`optimizer.states=bf16` it stays in 16 bits, where Megatron's gathering makes FP32 of it.
"""

from dataclasses import replace
from functools import partial
from typing import Any

from megatron.core.dist_checkpointing.dict_utils import nested_values
from megatron.core.dist_checkpointing.mapping import ShardedTensorFactory
from megatron.core.dist_checkpointing.optimizer import KEEP_VARS_HINT
from megatron.core.dist_checkpointing.utils import extract_sharded_tensors_and_factories
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.optimizer.distrib_optimizer import DistributedOptimizer

from megatron_recipe.optimizer import parts
from megatron_recipe.rounded_states import has_rounded_states, states_of


def describe_states_in_place(optimizer: MegatronOptimizer) -> None:
    """Let the distributed optimizers of a lone data-parallel rank describe their states in place, for saves."""
    for part in parts(optimizer):
        if isinstance(part, DistributedOptimizer) and part.data_parallel_group.size() == 1:
            part.sharded_param_state_fully_reshardable = partial(_state, part)


def _state(
    optimizer: DistributedOptimizer, weights: Any, is_loading: bool = False, metadata: dict[str, Any] | None = None
) -> Any:
    """Master weight and moments of each parameter, in the order and under the names of Megatron's own function."""
    if is_loading:
        whole = DistributedOptimizer.sharded_param_state_fully_reshardable
        return whole(optimizer, weights, is_loading, metadata)
    sharded, _ = extract_sharded_tensors_and_factories(weights)
    described = {entry.data: entry for entry in nested_values(sharded)}
    states: dict[int, dict[str, Any]] = {}
    for buffer in optimizer.buffers:
        for parameter in buffer.param_index_map:
            assert parameter in described, f"a parameter without a place in the checkpoint; {KEEP_VARS_HINT}"
            states[len(states)] = _of_parameter(optimizer, parameter, described[parameter])
    return states


def _of_parameter(optimizer: DistributedOptimizer, parameter: Any, described: Any) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    read = states_of if has_rounded_states(optimizer) else DistributedOptimizer._get_main_param_and_optimizer_states
    for name, tensor in read(optimizer, parameter).items():
        if name == "step":  # stands in the parameter groups
            continue
        whole = tensor.detach().view(described.data.shape)
        changes: dict[str, Any] = {"key": f"optimizer.state.{name}.{described.key}", "data": whole}
        if not isinstance(described, ShardedTensorFactory):
            changes["dtype"] = whole.dtype
        entries[name] = replace(described, **changes)
        entries[name].validate_metadata_integrity()
    return entries
