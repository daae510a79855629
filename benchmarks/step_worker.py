"""The process in which `benchmarks.step_profile` measures its variants, one after the other."""

import argparse
import json
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.kernel_times import profiled_kernels, sum_kernels
from benchmarks.speed_rows import mfu_of
from benchmarks.step_profile import TIMED, WARM_UP
from benchmarks.step_times import release, synchronize, time_steps
from benchmarks.variants import Variant, built
from megatron_recipe import metrics, parallel
from megatron_recipe.console import say
from megatron_recipe.recipes import load_config

LEFT_OVER_GIB = 1.0


def work(options: argparse.Namespace, target: list[str]) -> int:
    """Measure the variants that `target` names after the file that the results go to.

    Ends early after one that left the GPU or its memory in no state for the next.
    """
    path, wanted = Path(target[0]), target[1:]
    given = dict(options.variant) or {"recipe": "-"}
    common = (f"batch.global_batch_size_samples={options.samples}", *options.common)
    with parallel.process_groups(load_config(options.recipe, common)) as ranks:
        for name in wanted:
            say(f"{name}: {given[name]}")
            row = measured_or_reason(name, given[name], common, options, ranks.device)
            with path.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"variant": name, "settings": given[name], **row}) + "\n")
            if not answers(ranks.device):
                os._exit(0)  # what would be cleaned up is on that GPU
            if (held := release(ranks.device)) > LEFT_OVER_GIB:
                say(f"{held:.1f} GiB of {name} are still held: a new process for the next")
                os._exit(0)
    return 0


def measured_or_reason(
    name: str, settings: str, common: tuple[str, ...], options: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """A variant's row; {"error": …} where it fails."""
    try:
        return measured(Variant.read(name, settings), common, options, device)
    except Exception as error:
        traceback.print_exc(file=sys.stderr)
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def answers(device: torch.device) -> bool:
    """Whether the GPU still computes: after an access to memory that is not there it does nothing more."""
    try:
        synchronize(device)
        return bool(torch.ones(1, device=device).sum() == 1)
    except RuntimeError:
        return False


def measured(
    variant: Variant, common: tuple[str, ...], options: argparse.Namespace, device: torch.device
) -> dict[str, Any]:
    """Build, warm up, time, profile."""
    config = variant.config(options.recipe, common)
    with built(variant, config, options.recipe, options.vocab_size, device) as loop:
        timing = time_steps(loop, WARM_UP, TIMED)
        kernels = None
        if not options.no_profile:
            kernels = asdict(sum_kernels(profiled_kernels(loop.step, device), loop.tokens))
        assert loop.loss is not None
        loss, micro_batch = float(loop.loss), loop.micro_batch
    return {
        "tokens_per_second": timing.tokens_per_second,
        "seconds": timing.seconds,
        "spread": timing.spread,
        **mfu_of(config, options.vocab_size, timing.tokens_per_second, metrics.device_name(device)),
        **asdict(timing),
        "micro_batch": micro_batch,
        "loss": loss,
        "kernels": kernels,
    }
