"""Time a recipe's bare loop in this process. The last line is JSON.

python -m benchmarks.bare_run gpt_1b [--set section.field=value] [--vocab-size 32000] [--samples 64]
"""

import argparse
import json
from dataclasses import asdict

from benchmarks.bare_loop import BareLoop
from benchmarks.step_times import time_steps
from megatron_recipe.parallel import process_groups
from megatron_recipe.recipes import load_config
from megatron_recipe.this_machine import choose, hardware_here


def main() -> None:
    """Build, warm up, time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="section.field=value")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--samples", type=int, default=64, help="of a step")
    parser.add_argument("--intervals", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="of an interval")
    options = parser.parse_args()
    overrides = (f"batch.global_batch_size_samples={options.samples}", *options.overrides)
    config = choose(load_config(options.recipe, overrides), options.vocab_size, 1, options.recipe, hardware_here())
    with process_groups(config) as ranks:
        loop = BareLoop(config, options.vocab_size, ranks.device)
        timing = time_steps(loop, options.steps, options.intervals, options.steps)
        assert loop.loss is not None
        print(json.dumps({"micro_batch": loop.micro_batch, "loss": float(loop.loss), **asdict(timing)}))


if __name__ == "__main__":
    main()
