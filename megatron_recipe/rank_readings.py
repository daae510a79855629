"""What each rank measured of itself, brought to the first rank at each record."""

from typing import Any

import torch.distributed as dist

Reading = dict[str, Any]
"""Plain values of one rank; a value that it could not read is left out."""


def gather_readings(local: Reading) -> list[Reading]:
    """All ranks' readings in the order of ranks, on the first rank; an empty list on the others.

    Every rank calls it at the same step. It goes over gloo, so that no GPU is waited for.
    """
    if dist.get_world_size() == 1:
        return [local]
    gathered: list[Any] | None = [None] * dist.get_world_size() if dist.get_rank() == 0 else None
    dist.gather_object(local, gathered, dst=0)
    return gathered or []


def values_of(readings: list[Reading], name: str) -> list[float]:
    """One number of every rank that has it."""
    return [reading[name] for reading in readings if reading.get(name) is not None]
