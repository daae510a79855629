"""When a GPU's memory does not hold what was planned: say what takes most of it, and what fits instead.

A rank that ran out cannot go on in the same process: the others wait for it in a collective, and its memory is in
pieces. So the choice is written into the run folder and the process starts anew: by itself where it is alone, by
torchrun (`--max-restarts`) where there are several.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from megatron_recipe import console
from megatron_recipe.config import Config
from megatron_recipe.errors import MachineError
from megatron_recipe.files import write_json
from megatron_recipe.plan.resolve import largest_part, next_smaller

LIMIT = "memory_limit.json"
GB = 1e9


def within_limit(config: Config, run_dir: Path, card: str) -> Config:
    """`config` with the micro-batch and recompute that an earlier start on this kind of card came down to.

    card: name of the card that the choice is made for, the same at every start.
    """
    limit = _read(run_dir / LIMIT)
    if limit.get("card") != card or limit.get("was") != _choice(config):
        return config
    return _with(config, limit["micro_batch"], limit["recompute"])


@contextmanager
def out_of_memory_is_an_error(
    config: Config, vocab_size: int, world_size: int, run_dir: Path, *, card: str, take_smaller: bool
) -> Iterator[None]:
    """Turn an out-of-memory inside the block into a MachineError with a remedy, or into a new start.

    card: as `within_limit` is told it.
    take_smaller: write the next smaller choice into the run folder and start this process again (`--auto-micro-batch`).
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        smaller = next_smaller(config, vocab_size, world_size)
        message = _message(error, config, vocab_size, world_size, smaller)
        if smaller is None or not take_smaller:
            raise MachineError(message) from error
        console.warn(f"{message}; taking that")
        before = _read(run_dir / LIMIT)
        continues = before.get("card") == card and before.get("now") == _choice(config)
        first = before["was"] if continues else _choice(config)
        choice = {"micro_batch": smaller.batch.micro_batch, "recompute": smaller.memory.recompute}
        with suppress(FileNotFoundError):  # ranks that run out at once write the same file: one takes the other's name
            write_json(run_dir / LIMIT, {"card": card, "was": first, "now": _choice(smaller), **choice})
    else:
        return
    start_again(world_size)


def start_again(world_size: int) -> None:
    """Replace this process by a fresh one; several are restarted by torchrun when one of them fails."""
    if world_size > 1:
        raise MachineError(
            "out of memory on one of several ranks: torchrun starts them again with the smaller choice where it was "
            "started with --max-restarts 3; else run the same command again"
        )
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _message(error: Exception, config: Config, vocab_size: int, world_size: int, smaller: Config | None) -> str:
    part, size = largest_part(config, vocab_size, world_size)
    tried = _choice(config)
    remedy = (
        f"batch.micro_batch_size_samples={smaller.batch.micro_batch} with memory.recompute={smaller.memory.recompute} "
        "needs less (train --auto-micro-batch takes it by itself)"
        if smaller
        else "nothing smaller is left: take a card with more memory, more cards, or parallel.tensor=2"
    )
    return (
        f"out of GPU memory with {tried}: the largest part is {part}, {size / GB:.1f} GB by plan; {remedy}. "
        f"CUDA said: {' '.join(str(error).split())[:160]}"
    )


def _choice(config: Config) -> str:
    return f"micro-batch {config.batch.micro_batch}, recompute {config.memory.recompute}"


def _with(config: Config, micro_batch: int, recompute: str) -> Config:
    batch = config.batch.model_copy(update={"micro_batch_size_samples": micro_batch})
    memory = config.memory.model_copy(update={"recompute": recompute})
    return config.model_copy(update={"batch": batch, "memory": memory})


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return {name: value[name] for name in ("card", "was", "now", "micro_batch", "recompute")}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # a limit that cannot be read costs one more out-of-memory
