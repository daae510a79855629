"""What two GPUs compute in each layout from each other's checkpoints. Run by test_layouts_on_gpus.py in torchrun.

Rank 0 writes found.json: for each layout the losses and norms of some steps from the checkpoint `start`, and those of
the step that follows each layout's own checkpoint in every other layout.
"""

import json
import sys
from pathlib import Path

import torch.distributed as dist

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from direct_steps import DirectRun  # noqa: E402
from test_precisions_on_gpu import gpu_config  # noqa: E402

from megatron_recipe import parallel  # noqa: E402
from megatron_recipe.checkpoint import own_pickles_are_trusted  # noqa: E402

# an optimizer that is not split names its states otherwise (optimizer_conversion.py), so it is not among them
LAYOUTS = {
    "data": (),
    "data, waiting": ("parallel.overlap_grad_reduce=false", "parallel.overlap_param_gather=false"),
    "tensor": ("parallel.tensor=2",),
    "tensor and sequence": ("parallel.tensor=2", "parallel.sequence_parallel=true"),
    "stages": ("parallel.pipeline=2",),
    "stages, interleaved": ("parallel.pipeline=2", "parallel.virtual_stages=2"),
    "context": ("parallel.context=2",),
}
BEFORE, STEPS = 4, 4


def built(layout: str, ranks: parallel.Ranks) -> DirectRun:
    """A fresh run in this layout."""
    return DirectRun(gpu_config("bf16", *LAYOUTS[layout]), str(ranks.device), ranks.data_rank, ranks.data_size)


def save(run: DirectRun, folder: Path, ranks: parallel.Ranks) -> None:
    """A checkpoint by all ranks."""
    if ranks.is_first:
        folder.mkdir()
    dist.barrier()
    run.write(folder)


def main() -> None:
    """First each layout from one checkpoint, then each from each other's."""
    out, found = Path(sys.argv[1]), {}
    for layout, sets in LAYOUTS.items():
        with parallel.process_groups(gpu_config("bf16", *sets)) as ranks, own_pickles_are_trusted():
            run = built(layout, ranks)
            if layout == "data":  # the first
                run.steps(BEFORE)
                save(run, out / "start", ranks)
                run = built(layout, ranks)
            run.load(out / "start", done=BEFORE)
            found[layout] = {"steps": run.steps(STEPS)}
            save(run, out / layout, ranks)
            found[layout]["next"] = run.step()
    for layout, sets in LAYOUTS.items():
        with parallel.process_groups(gpu_config("bf16", *sets)) as ranks, own_pickles_are_trusted():
            found[layout]["from"] = {}
            run = built(layout, ranks)  # building compiles, and a checkpoint replaces all that the one before left
            for other in LAYOUTS:
                run.load(out / other, done=BEFORE + STEPS)
                found[layout]["from"][other] = run.step()
    if ranks.is_first:
        (out / "found.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
