"""Four ranks begin with imported weights in several layouts, compute, and save what they hold.

Run by test_init_from.py in torchrun: python layout_ranks.py FOLDER
FOLDER/NAME/imported is a model; FOLDER/NAME/LAYOUT becomes the checkpoint that the ranks save, FOLDER/NAME/batch.pt the
tokens, and rank 0 prints one JSON object: for each model and layout the loss, and how far one step moved a weight.
"""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import direct_steps
import torch
import torch.distributed as dist
from layouts import LAYOUTS, LEARNING_RATE, MODELS
from megatron.core import dist_checkpointing, parallel_state

from checkpoints_tools.from_hf import CHECKPOINT
from checkpoints_tools.megatron_checkpoint import checkpoint_facts, model_config
from megatron_recipe import parallel
from megatron_recipe.config import Config
from megatron_recipe.initial_weights import take_initial_weights


def configured(folder: Path, layout: str) -> Config:
    """The model of a folder in a layout."""
    config = direct_steps.small_config(
        f"train.init_from={folder / 'imported'}",
        f"schedule.peak_learning_rate={LEARNING_RATE}",
        "schedule.min_learning_rate=0",
        "schedule.warmup_fraction=0",
        "schedule.decay=constant",
        *LAYOUTS[layout],
    )
    return config.model_copy(update={"model": model_config(checkpoint_facts(folder / "imported" / CHECKPOINT))})


def numbers(config: Config, out: Path, ranks: parallel.Ranks) -> dict[str, float]:
    """Loss at the beginning and the farthest that a weight moves in one step."""
    parallel_state.destroy_model_parallel()
    parallel_state.initialize_model_parallel(
        tensor_model_parallel_size=config.parallel.tensor,
        pipeline_model_parallel_size=config.parallel.pipeline,
        virtual_pipeline_model_parallel_size=parallel.virtual_stages(config),
    )
    run = direct_steps.DirectRun(config)
    if ranks.is_first:
        batches = run.micro_batches(0)
        torch.save({name: torch.cat([one[name] for one in batches]) for name in batches[0]}, out.with_name("batch.pt"))
        out.mkdir()
    dist.barrier()
    take_initial_weights(run.training, config, ranks)
    dist_checkpointing.save(run.training.sharded_state(is_loading=False, weights_only=True), str(out))
    loss, before = run.backward(forward_only=True), run.weights()
    run.step()
    moved = max(float((after - before[name]).abs().max()) for name, after in run.weights().items())
    found = torch.tensor([loss, moved], dtype=torch.float64)  # the loss is on the last stage
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return {"loss": float(found[0]), "moved": float(found[1])}


def main() -> None:
    """All models in all layouts."""
    folders = sorted(Path(sys.argv[1]).iterdir())
    found: dict[str, dict[str, dict[str, float]]] = {}
    with parallel.process_groups(configured(folders[0], "tensor")) as ranks:
        for folder in folders:
            direct_steps.VOCAB = checkpoint_facts(folder / "imported" / CHECKPOINT)["vocab_size"]
            found[folder.name] = {
                layout: numbers(configured(folder, layout), folder / layout, ranks) for layout in MODELS[folder.name][1]
            }
        if ranks.is_first:
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
