"""Four pipeline stages say what they begin with. Run by test_initial_stages.py in torchrun; rank 0 prints JSON."""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch.distributed as dist
from direct_steps import DirectRun, small_config

from megatron_recipe import parallel


def main() -> None:
    """The first query, key and value matrix of each stage, as sum and norm."""
    config = small_config("parallel.pipeline=4")
    with parallel.process_groups(config) as ranks:
        weights = DirectRun(config).weights()
        (first,) = (
            weight for name, weight in weights.items() if name.endswith("layers.0.self_attention.linear_qkv.weight")
        )
        found: list[list[float] | None] = [None] * ranks.world_size
        dist.all_gather_object(found, [float(first.sum()), float(first.norm())])
        if ranks.is_first:
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
