"""Communication among the data-parallel ranks while the model computes: sums of gradients, gathering of weights.

Megatron's DistributedDataParallel does both with hooks on the modules. While weights are gathered in the next forward
pass, what the model holds between two steps is in part the weights of before the update: whoever reads them there, to
validate or to save, does so inside `parameters_in_place`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from megatron.core import parallel_state
from megatron.core.distributed import DistributedDataParallel

from megatron_recipe.config import ParallelConfig


@dataclass(frozen=True)
class Overlap:
    """Which communication runs beside the arithmetic."""

    grad_reduce: bool
    param_gather: bool


def overlap_of(layout: ParallelConfig) -> Overlap:
    """What of the configuration applies: nothing where there is one data-parallel rank.

    Megatron gathers weights beside the arithmetic only with the distributed optimizer, and only where it sums
    gradients so too.
    """
    ranks = parallel_state.get_data_parallel_world_size(with_context_parallel=True)
    grad_reduce = layout.overlap_grad_reduce and ranks > 1
    return Overlap(grad_reduce, grad_reduce and layout.distributed_optimizer and layout.overlap_param_gather)


def connect(model: list[DistributedDataParallel]) -> None:
    """Tell Megatron's schedules when gradients may be summed: in the last micro-batch of a step."""
    config = model[0].config
    if not model[0].ddp_config.overlap_grad_reduce:
        return
    without_sums = [chunk.no_sync for chunk in model]
    start_sums = [chunk.start_grad_sync for chunk in model]
    config.no_sync_func = without_sums if len(model) > 1 else without_sums[0]
    config.grad_sync_func = start_sums if len(model) > 1 else start_sums[0]


@contextmanager
def parameters_in_place(model: list[DistributedDataParallel]) -> Iterator[None]:
    """All weights are gathered and stay so inside the block, to validate or to save. All ranks call it; it may nest."""
    waiting = [chunk for chunk in model if chunk.use_forward_hook and chunk.remove_forward_pre_hook_handles]
    for chunk in waiting:
        chunk.disable_forward_pre_hook()
    try:
        yield
    finally:
        for chunk in waiting:
            chunk.enable_forward_pre_hook()
