"""What several ranks compute in each layout from each other's checkpoints. Run by test_layouts_on_gpus.py in torchrun.

Rank 0 writes found.json: for each layout the losses and norms of some steps from the checkpoint `start`, and those of
the step that follows each layout's own checkpoint in every other layout.
"""

import json
import sys
import time
from pathlib import Path

import torch.distributed as dist

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

from direct_steps import DirectRun  # noqa: E402
from test_precisions_on_gpu import gpu_config  # noqa: E402

from megatron_recipe import parallel  # noqa: E402
from megatron_recipe.checkpoint import own_pickles_are_trusted  # noqa: E402

TENSOR = ("parallel.tensor=2", "parallel.sequence_parallel=true")
STAGES, CONTEXT = ("parallel.pipeline=2",), ("parallel.context=2",)
INTERLEAVED = (*STAGES, "parallel.virtual_stages=2")
# an optimizer that is not split names its states otherwise (optimizer_conversion.py), so it is not among them
LAYOUTS = {
    2: {
        "data": (),
        "data, waiting": ("parallel.overlap_grad_reduce=false", "parallel.overlap_param_gather=false"),
        "tensor": ("parallel.tensor=2",),
        "tensor and sequence": TENSOR,
        "stages": STAGES,
        "stages, interleaved": INTERLEAVED,
        "context": CONTEXT,
    },
    4: {
        "interleaved, data": INTERLEAVED,
        "interleaved, tensor": (*INTERLEAVED, *TENSOR),
        "stages of four": ("parallel.pipeline=4",),
        "context, tensor": (*CONTEXT, *TENSOR),
        "context, interleaved": (*CONTEXT, *INTERLEAVED),
    },
    8: {
        "interleaved, tensor, data": (*INTERLEAVED, *TENSOR),
        "stages, tensor, context": (*STAGES, *TENSOR, *CONTEXT),
    },
}
"""By the number of ranks; the first of each is what the others are held against."""
BEFORE, STEPS = 4, 4


def built(sets: tuple[str, ...], ranks: parallel.Ranks) -> DirectRun:
    """A fresh run in this layout."""
    return DirectRun(gpu_config("bf16", *sets), str(ranks.device), ranks.data_rank, ranks.data_size)


def save(run: DirectRun, folder: Path, ranks: parallel.Ranks) -> None:
    """A checkpoint by all ranks."""
    if ranks.is_first:
        folder.mkdir()
    dist.barrier()
    run.write(folder)


def tell(what: str, ranks: parallel.Ranks) -> None:
    """How far it is, for the message of a failure."""
    if ranks.is_first:
        print(f"{time.strftime('%T')} {what}", file=sys.stderr, flush=True)


def main() -> None:
    """First each layout from one checkpoint, then each from each other's."""
    out, found = Path(sys.argv[1]), {}
    layouts = LAYOUTS[parallel.world_size_from_environment()]
    for layout, sets in layouts.items():
        with parallel.process_groups(gpu_config("bf16", *sets)) as ranks, own_pickles_are_trusted():
            run = built(sets, ranks)
            if not found:
                run.steps(BEFORE)
                save(run, out / "start", ranks)
                run = built(sets, ranks)
            run.load(out / "start", done=BEFORE)
            found[layout] = {"steps": run.steps(STEPS)}
            tell(f"{layout}: {found[layout]['steps']}", ranks)
            save(run, out / layout, ranks)
            found[layout]["next"] = run.step()
    for layout, sets in layouts.items():
        with parallel.process_groups(gpu_config("bf16", *sets)) as ranks, own_pickles_are_trusted():
            tell(f"{layout}: the others' checkpoints", ranks)
            found[layout]["from"] = {}
            run = built(sets, ranks)  # building compiles, and a checkpoint replaces all that the one before left
            for other in layouts:
                run.load(out / other, done=BEFORE + STEPS)
                found[layout]["from"][other] = run.step()
    if ranks.is_first:
        (out / "found.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
