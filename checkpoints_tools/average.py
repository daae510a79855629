"""The mean of a run's last checkpoints: weights that are often better than the newest ones alone.

Run: megatron-recipe convert average RUN --last K OUT
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from checkpoints_tools.export_plan import DTYPES
from checkpoints_tools.megatron_checkpoint import CheckpointReader, checkpoint_facts, run_checkpoints, verify_lists
from checkpoints_tools.to_hf import require_finite
from checkpoints_tools.weights_checkpoint import write_weights_checkpoint
from megatron_recipe.checkpoint_integrity import MARKER, OWN_CHECKSUM
from megatron_recipe.console import progress
from megatron_recipe.errors import CheckpointError, ConfigError

AVERAGED = "averaged_steps"
OF_THE_FILES = {OWN_CHECKSUM, "integrity_sha256"}
OF_ONE_STATE = {"validation_loss", "position"}
"""Facts of the newest checkpoint that the mean does not have."""


def average_run(run: Path, out: Path, last: int, dtype: str | None = None) -> dict[str, Any]:
    """Write the mean of the newest `last` checkpoints of a run, summed in FP32, as a checkpoint of weights.

    Args:
        dtype: type of the mean, "float32" or "bfloat16"; None keeps the checkpoints'.

    Returns:
        What its checkpoint.json says.

    Raises:
        CheckpointError: fewer checkpoints than `last`, damaged ones, or of different models.
        ConfigError: `out` is something else, or a value is wrong.
    """
    chosen = last_checkpoints(run, last)
    if dtype is not None and dtype not in DTYPES:
        raise ConfigError(f"--dtype={dtype} is not known; use one of {', '.join(DTYPES)}")
    if out.exists() and AVERAGED not in _facts_or_nothing(out) and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} exists and is no mean of checkpoints; choose another folder")
    for checkpoint in chosen:
        verify_lists(checkpoint)
    readers = [CheckpointReader(checkpoint) for checkpoint in chosen]
    facts = _common_facts(readers)
    write_weights_checkpoint(out, _means(readers, DTYPES[dtype] if dtype else None), facts)
    return checkpoint_facts(out)


def last_checkpoints(run: Path, last: int) -> list[Path]:
    """The newest `last` complete checkpoints of a run, oldest first, one for each step.

    Raises CheckpointError where there are fewer, ConfigError for a number below 2.
    """
    if last < 2:
        raise ConfigError(f"--last={last} must be 2 or more: the mean of one checkpoint is that checkpoint")
    by_step = {
        checkpoint_facts(one)["step"]: one for one in run_checkpoints(run) if AVERAGED not in checkpoint_facts(one)
    }
    if len(by_step) < last:
        raise CheckpointError(
            f"{run}: --last={last}, but there are checkpoints of {len(by_step)} steps; "
            "keep more of the next run with checkpoint.keep_last or checkpoint.milestone_every_steps"
        )
    return [by_step[step] for step in sorted(by_step)[-last:]]


def _facts_or_nothing(folder: Path) -> dict[str, Any]:
    return checkpoint_facts(folder) if (folder / MARKER).is_file() else {}


def _common_facts(readers: list[CheckpointReader]) -> dict[str, Any]:
    """Facts of the mean: the newest checkpoint's, without those of its files. Checks that the models are alike."""
    all_facts = [checkpoint_facts(reader.checkpoint) for reader in readers]
    newest = all_facts[-1]
    for facts, reader in zip(all_facts, readers, strict=True):
        differs = [name for name in ("model", "vocab_size") if facts[name] != newest[name]]
        if differs or reader.weights.keys() != readers[-1].weights.keys():
            raise CheckpointError(
                f"{reader.checkpoint} and {readers[-1].checkpoint} are of different models "
                f"({', '.join(differs) or 'weights'}); only checkpoints of one model have a mean"
            )
    left_out = OF_THE_FILES | OF_ONE_STATE
    steps = [facts["step"] for facts in all_facts]
    return {**{name: value for name, value in newest.items() if name not in left_out}, AVERAGED: steps}


def _means(readers: list[CheckpointReader], dtype: torch.dtype | None) -> Iterator[tuple[str, Tensor]]:
    total = sum(info.size_bytes for info in readers[-1].weights.values())
    with progress("averaging", total / 1e6, "MB") as advance:
        for name, info in readers[-1].weights.items():
            mean = torch.zeros(info.shape, dtype=torch.float32)
            for reader in readers:
                weight = reader.read(name)
                require_finite(name, weight, reader.checkpoint)
                mean += weight
            mean /= len(readers)
            yield name, mean.to(dtype or info.dtype)
            advance(info.size_bytes / 1e6)
