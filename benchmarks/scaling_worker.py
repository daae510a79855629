"""The processes in which `benchmarks.scaling` measures its rows, one after the other; torchrun starts one a GPU."""

import argparse
import json
import os
import statistics
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch.distributed as dist

from benchmarks.bare_loop import BareLoop
from benchmarks.scaling import Case
from benchmarks.speed_rows import mfu_of, precision_of
from benchmarks.step_times import release, time_steps
from megatron_recipe import parallel
from megatron_recipe.console import say
from megatron_recipe.errors import ConfigError
from megatron_recipe.metrics import device_name
from megatron_recipe.parent_death import die_with_parent
from megatron_recipe.this_machine import choose, hardware_here

WARM_UP, LEFT_OVER_GIB = 2, 2.0
HANG_SECONDS = 60
"""A rank that failed alone leaves the others waiting."""


def work(known: dict[str, Case], options: argparse.Namespace) -> int:
    """Measure the rows that `options.worker` names after the file that they go to; returns the exit code.

    Ends early after one that failed on a GPU, or that left memory behind on one.
    """
    die_with_parent()
    is_first = os.environ["RANK"] == "0"
    path, names = Path(options.worker[0]), options.worker[1:]
    for name in names:
        case, held = known[name], 0.0
        if is_first:
            say(f"{name}: {' '.join(case.overrides) or 'as it is'}")
        try:
            row, held = measured(case, options)
        except ConfigError as error:  # on all ranks alike, before anything was built
            row = {"error": " ".join(str(error).split())[:300]}
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            if is_first:
                write(path, name, {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"})
            os._exit(1)  # what would be cleaned up waits for the other ranks
        if is_first:
            write(path, name, row)
        if held > LEFT_OVER_GIB:
            os._exit(0)
    return 0


def write(path: Path, name: str, row: dict[str, Any]) -> None:
    """Append a row to the file."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps({"name": name, **row}) + "\n")


def measured(case: Case, options: argparse.Namespace) -> tuple[dict[str, Any], float]:
    """Build, warm up, time. Returns the row, equal on all ranks, and the GiB that are still held on the fullest GPU."""
    common = (*options.common, f"parallel.timeout_seconds={HANG_SECONDS}")
    config = case.config(common, options.tokens)
    config = choose(config, options.vocab_size, case.gpus, case.recipe, hardware_here())
    with parallel.process_groups(config) as ranks:
        loop = BareLoop(config, options.vocab_size, ranks.device)
        timing = time_steps(loop, WARM_UP, options.steps)
        assert loop.loss is not None
        loss, tokens = float(loop.loss), loop.tokens
        of_all: list[Any] = [None] * ranks.world_size
        dist.all_gather_object(of_all, asdict(timing))
        device = device_name(ranks.device)
        del loop
        held: list[Any] = [None] * ranks.world_size
        dist.all_gather_object(held, release(ranks.device))
    # the slowest rank's time is the step's
    seconds = [max(times) for times in zip(*(one["step_seconds"] for one in of_all), strict=True)]
    median = statistics.median(seconds)
    peaks = [one["peak_gib"] for one in of_all if one["peak_gib"] is not None]
    row = {
        "recipe": case.recipe,
        "layout": case.layout,
        "gpus": case.gpus,
        "is_long": case.is_long,
        "length": config.model.sequence_length_tokens,
        "precision": precision_of("ours", config),
        "device": device,
        "tokens": tokens,
        "step_seconds": seconds,
        "seconds": median,
        "spread": (max(seconds) - min(seconds)) / median,
        "tokens_per_second_per_gpu": tokens / median / case.gpus,
        "peak_gib": max(peaks) if peaks else None,
        "micro_batch": config.batch.micro_batch,
        "recompute": config.memory.recompute,
        "loss": loss,
        **mfu_of(config, options.vocab_size, tokens / median / case.gpus, device),
    }
    return row, max(held)
