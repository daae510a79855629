"""What all ranks must decide alike at the same step, in one small exchange that does not wait for the GPU."""

from typing import Any

import torch
import torch.distributed as dist


def agree(*values: float) -> list[float]:
    """The largest of each value over all ranks. A rank that has no say passes 0."""
    if dist.get_world_size() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)  # on the CPU: gloo carries it, and no kernel is waited for
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return [float(value) for value in tensor.tolist()]


def all_ranks(value: Any) -> list[Any]:
    """Each rank's value, by rank, on all ranks."""
    if dist.get_world_size() == 1:
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def first_ranks(value: Any) -> Any:
    """The first rank's value, on all ranks."""
    if dist.get_world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]
