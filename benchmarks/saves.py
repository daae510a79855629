"""What checkpoints in the background cost: steps of a real run beside and between its saves.

    python -m benchmarks.saves --data DATASET --out OUT --recipe gpt_1b --samples 32

Prints a line for each save, and last `recipe= step_seconds= blocked_seconds= slower_seconds= cost_in_steps= gb=` of the
last one, since the first of a process also makes its buffers. OUT/saves.json holds all. Exit code 1 where it failed.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path
from typing import Any

from benchmarks import child
from benchmarks.trainer_runs import NOTHING_BESIDE, events, records, run_trainer
from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.errors import RecipeError
from megatron_recipe.files import full_disk_is_an_error
from megatron_recipe.recipes import load_config

LEAST_EVERY = 4
"""Steps: those of the second half before the first save say what is usual."""


def measure_saves(
    recipe: str, overrides: list[str], folder: Path, *, every: int, saves: int, seconds: float
) -> dict[str, Any]:
    """What checkpoints in the background cost: `saves` of them, one every `every` steps. A process's first is slowest.

    Each step is recorded, so that those beside a save can be told from the others. The cost is what a save blocked plus
    what the steps beside it took longer than the median of those before the first save.
    """
    during: list[tuple[int, int]] = []

    def is_done() -> bool:
        for event in events(folder, "checkpoint_saved")[len(during) :]:
            during.append((event["step"], records(folder)[-1]["step"]))
        return len(during) >= saves

    asked = [
        *NOTHING_BESIDE,
        "train.log_every_steps=1",
        f"checkpoint.save_every_steps={every}",
        "checkpoint.keep_last=1",
        *overrides,
    ]
    run_trainer(recipe, asked, folder, seconds, is_done)
    times = {record["step"]: record["step_seconds"] for record in records(folder)}
    usual = statistics.median(seconds for step, seconds in times.items() if every // 2 < step <= every)
    found = []
    for (first, last), event in zip(during[:saves], events(folder, "checkpoint_saved"), strict=False):
        slower = sum(times[step] - usual for step in range(first + 1, last + 1) if step in times)
        found.append(
            {
                "step": first,
                "steps_beside": last - first,
                "blocked_seconds": event["blocked_seconds"],
                "slower_seconds": slower,
                "cost_in_steps": (event["blocked_seconds"] + slower) / usual,
                "seconds": event["seconds"],
                "gb": event["bytes"] / 1e9,
            }
        )
    shutil.rmtree(folder)
    return {"usual_step_seconds": usual, "saves": found}


def text(save: dict[str, Any]) -> str:
    """A save in a line."""
    return (
        f"step {save['step']}: {save['cost_in_steps']:.2f} steps (blocked {save['blocked_seconds']:.2f} s, slower "
        f"{save['slower_seconds']:.2f} s over {save['steps_beside']} steps; {save['gb']:.1f} GB in "
        f"{save['seconds']:.1f} s)"
    )


def last_line(recipe: str, found: dict[str, Any]) -> str:
    """The last save, in the form that scripts read."""
    names = ("blocked_seconds", "slower_seconds", "cost_in_steps", "gb")
    values = " ".join(f"{name}={found['saves'][-1][name]:.3f}" for name in names)
    return f"recipe={recipe} step_seconds={found['usual_step_seconds']:.3f} {values}"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", default="gpt_1b")
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--samples", type=int, help="of a step; by default the recipe's")
    parser.add_argument("--every", type=int, default=20, metavar="STEPS")
    parser.add_argument("--saves", type=int, default=2)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="section.field=value")
    parser.add_argument("--seconds", type=float, default=600.0)
    options = parser.parse_args()
    if options.every < LEAST_EVERY or options.saves < 1:
        parser.error(f"--every {options.every} --saves {options.saves}: at least {LEAST_EVERY} steps and one save")
    return options


def main() -> int:
    """Measure, print; returns the exit code."""
    options = arguments()
    try:
        with full_disk_is_an_error(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
        read_dataset_facts(options.data)
        config = load_config(options.recipe, tuple(options.overrides))
        samples = options.samples or config.batch.global_batch_size_samples
        asked = [
            f"data.datasets={options.data.absolute()}",
            f"batch.global_batch_size_samples={samples}",
            *options.overrides,
        ]
        limits = {"every": options.every, "saves": options.saves, "seconds": options.seconds}
        found = measure_saves(options.recipe, asked, options.out / "run", **limits)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except RecipeError as error:
        print(error, file=sys.stderr)
        return 2
    except child.Failed as failure:
        print(failure, *failure.said, sep="\n", file=sys.stderr)
        return 1
    (options.out / "saves.json").write_text(json.dumps({"recipe": options.recipe, **found}, indent=1), encoding="utf-8")
    print(*map(text, found["saves"]), last_line(options.recipe, found), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
