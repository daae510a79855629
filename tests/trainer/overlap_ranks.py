"""What two data-parallel ranks compute with and without overlapped communication. Run by test_overlap.py in torchrun.

Rank 0 prints one JSON object: for each setting the losses, norms and weights' checksums of its steps, and for each
layout what the model thinks of some continuations.
"""

import functools
import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from continuations import judged  # noqa: E402
from direct_steps import DirectRun, small_config  # noqa: E402
from megatron.core import dist_checkpointing, parallel_state  # noqa: E402
from megatron.core.distributed import DistributedDataParallelConfig  # noqa: E402

from megatron_recipe import model, overlap, parallel  # noqa: E402

NO_SUMS, NO_GATHER = "parallel.overlap_grad_reduce=false", "parallel.overlap_param_gather=false"
SETTINGS = {
    "one after the other": (NO_SUMS, NO_GATHER),
    "sums": (NO_GATHER,),
    "sums and gathering": (),
    "sums, not distributed": ("parallel.distributed_optimizer=false",),
    "whole layers again": ("memory.recompute=full",),
}
LAYOUTS = {
    "data": (),
    "tensor and sequence": ("parallel.tensor=2", "parallel.sequence_parallel=true"),
    "stages": ("parallel.pipeline=2",),
}


def checksums(run: DirectRun) -> list[float]:
    """One number for all weights from each rank, rank 0 first."""
    total = sum((weight.double().abs().sum() for weight in run.weights().values()), torch.zeros((), dtype=torch.double))
    gathered = [torch.zeros_like(total) for _ in range(dist.get_world_size())]
    dist.all_gather(gathered, total)
    return [float(number) for number in gathered]


def numbers(ranks: parallel.Ranks, overrides: tuple[str, ...]) -> dict[str, object]:
    """Steps with a validation and what a save reads after two of them."""
    run = DirectRun(small_config(*overrides), data_rank=ranks.data_rank, data_size=ranks.data_size)
    ddp = run.model[0].ddp_config
    buckets = len(run.model[0].bucket_groups)
    norms, seen, held_out = [], [], []
    for step in range(5):
        norms.append(run.step()[1])
        if step in (1, 3):
            with overlap.parameters_in_place(run.model), overlap.parameters_in_place(run.model):
                seen.append(checksums(run))
                with torch.no_grad():
                    held_out.append(run.backward(forward_only=True))
    without_waiting = checksums(run)
    with overlap.parameters_in_place(run.model):
        seen.append(checksums(run))
    return {
        "overlaps": [ddp.overlap_grad_reduce, ddp.overlap_param_gather],
        "buckets": buckets,
        "norms": norms,
        "held_out": held_out,
        "seen": seen,
        "without_waiting": without_waiting,
    }


def likelihoods(ranks: parallel.Ranks, weights: Path) -> dict[str, object]:
    """The same weights judge the same continuations in each layout."""
    found: dict[str, object] = {}
    for name, overrides in LAYOUTS.items():
        config = small_config(*overrides)
        parallel_state.destroy_model_parallel()
        parallel_state.initialize_model_parallel(config.parallel.tensor, config.parallel.pipeline)
        data_rank, data_size = (
            parallel_state.get_data_parallel_rank(),
            parallel_state.get_data_parallel_world_size(),
        )
        run = DirectRun(config, data_rank=data_rank, data_size=data_size)
        state = run.training.sharded_state(is_loading=weights.exists(), weights_only=True)
        if not weights.exists():
            dist.barrier()
            weights.mkdir(exist_ok=True)
            dist_checkpointing.save(state, str(weights))
        else:
            run.model[0].module.load_state_dict(dist_checkpointing.load(state, str(weights))["model"])
        found[name] = judged(run, parallel.Ranks(ranks.rank, ranks.world_size, data_rank, data_size, ranks.device))
    return found


def main() -> None:
    """All settings in one start."""
    # the small model would be one bucket
    model.DistributedDataParallelConfig = functools.partial(DistributedDataParallelConfig, bucket_size=20_000)
    with parallel.process_groups(small_config()) as ranks:
        found = {name: numbers(ranks, overrides) for name, overrides in SETTINGS.items()}
        judgements = likelihoods(ranks, Path("weights"))
        if ranks.is_first:
            print(json.dumps({"settings": found, "likelihoods": judgements}), flush=True)


if __name__ == "__main__":
    main()
