"""torch.distributed and Megatron's process groups: the only file that touches Megatron's global state."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from megatron.core import parallel_state, tensor_parallel

from megatron_recipe import cpu_backend
from megatron_recipe.config import Config


@dataclass(frozen=True)
class Ranks:
    """Where this process stands among the others."""

    rank: int
    world_size: int
    data_rank: int
    data_size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files that exist once."""
        return self.rank == 0


def world_size_from_environment() -> int:
    """Processes that torchrun started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def process_groups(config: Config, folder: Path | None = None) -> Iterator[Ranks]:
    """Start torch.distributed (NCCL on GPUs, gloo on a CPU) and Megatron's groups; end them with the block.

    A collective that takes longer than `parallel.timeout_seconds` ends the process; NCCL then writes what each rank
    called last to `folder` (to /tmp without one).
    """
    if cpu_backend.is_needed():
        cpu_backend.install()
        device = cpu_backend.CPU
        backend = "gloo"
    else:
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(local_rank)
        device = torch.device("cuda", local_rank)
        backend = "cpu:gloo,cuda:nccl"
        end_hung_collectives(folder)
    world_size = world_size_from_environment()
    timeout = timedelta(seconds=config.parallel.timeout_seconds)
    if world_size > 1:
        store, rank, _ = next(dist.rendezvous("env://", timeout=timeout))
        store = dist.PrefixStore(attempt_name(world_size), store)
        # groups that these processes started before and ended again left their addresses in the store, too
        started = (store.add("starts", 1) - 1) // world_size
        store = dist.PrefixStore(f"start_{started}", store)
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
    else:
        # a store in memory: a single process needs no port, so two runs on one machine never meet
        dist.init_process_group(backend, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)
    try:
        parallel_state.initialize_model_parallel(
            tensor_model_parallel_size=config.parallel.tensor,
            pipeline_model_parallel_size=config.parallel.pipeline,
            virtual_pipeline_model_parallel_size=virtual_stages(config),
            context_parallel_size=config.parallel.context,
            distributed_timeout_minutes=-(-config.parallel.timeout_seconds // 60),
        )
        seed_everything(config.train.seed)
        yield Ranks(
            rank=dist.get_rank(),
            world_size=world_size,
            data_rank=parallel_state.get_data_parallel_rank(),
            data_size=parallel_state.get_data_parallel_world_size(),
            device=device,
        )
    finally:
        parallel_state.destroy_model_parallel()
        dist.destroy_process_group()


def attempt_name(world_size: int) -> str:
    """A name in torchrun's store that an earlier attempt did not use.

    After a restart torchrun hands out the same store, where the addresses of the dead processes still stand, and gloo
    would wait for them forever. Only where all processes are of one torchrun do they know a number of the attempt: on
    several machines set TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1, and each attempt has a store of its own.
    """
    alone = os.environ.get("LOCAL_WORLD_SIZE") == str(world_size)
    return f"attempt_{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') if alone else 0}"


def end_hung_collectives(folder: Path | None) -> None:
    """NCCL's watchdog: end the process on a time-out, with a record of its last 2,000 collectives.

    The variables are torch's (https://docs.pytorch.org/docs/stable/torch_nccl_environment_variables.html); those that
    the user has set stay.
    """
    os.environ.setdefault("TORCH_NCCL_ASYNC_ERROR_HANDLING", "3")  # end without waiting for the communicator
    os.environ.setdefault("TORCH_NCCL_DUMP_ON_TIMEOUT", "1")
    os.environ.setdefault("TORCH_FR_BUFFER_SIZE", "2000")
    if folder is not None:
        os.environ.setdefault("TORCH_FR_DUMP_TEMP_FILE", str(folder / "hang_nccl_rank"))


def virtual_stages(config: Config) -> int | None:
    """Megatron's virtual pipeline size: None where stages are not interleaved."""
    return config.parallel.virtual_stages if config.parallel.virtual_stages > 1 else None


SEEDS_BETWEEN_STAGES = 100


def seed_everything(seed: int) -> None:
    """Seed torch and Megatron's random trackers, which differ over the tensor ranks.

    Each pipeline stage has a seed of its own, as in Megatron-LM (megatron/training/initialize.py): with one for all,
    stages would begin with the same layers.
    """
    seed += SEEDS_BETWEEN_STAGES * stage_number()
    torch.manual_seed(seed)
    tensor_parallel.model_parallel_cuda_manual_seed(seed)


def is_first_stage(virtual_stage: int | None = None) -> bool:
    """Whether this rank holds the embedding (of the given virtual stage)."""
    return parallel_state.is_pipeline_first_stage(ignore_virtual=virtual_stage is None, vp_stage=virtual_stage)


def is_last_stage(virtual_stage: int | None = None) -> bool:
    """Whether this rank computes the loss (of the given virtual stage)."""
    return parallel_state.is_pipeline_last_stage(ignore_virtual=virtual_stage is None, vp_stage=virtual_stage)


def stage_number() -> int:
    """This rank's pipeline stage, from 0."""
    return int(parallel_state.get_pipeline_model_parallel_rank())


def sum_over_data_and_pipeline(values: torch.Tensor) -> torch.Tensor:
    """Sum `values` over all samples of a step, in place, so that every rank has the result.

    Ranks that are not of the last pipeline stage pass zeros. Tensor-parallel ranks hold equal values already.
    """
    dist.all_reduce(values, group=parallel_state.get_data_parallel_group(with_context_parallel=True))
    if parallel_state.get_pipeline_model_parallel_world_size() > 1:
        dist.all_reduce(values, group=parallel_state.get_pipeline_model_parallel_group())
    return values


def barrier() -> None:
    """Wait for all ranks."""
    dist.barrier()
