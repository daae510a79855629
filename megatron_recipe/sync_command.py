"""The command `sync`: upload what a run kept offline for W&B."""

import os
import subprocess
import sys
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.errors import MachineError
from megatron_recipe.loggers.reach import unreachable
from megatron_recipe.loggers.requirements import has_wandb_key, wandb_address

ANSWER_SECONDS = 10.0


def sync_command(run_dir: Path) -> int:
    """Upload the pieces of a run's W&B files that are not uploaded yet, in their order; returns the exit code 0.

    Raises:
        MachineError: there are none, the package or a key is missing, the service does not answer, or the upload fails.
    """
    pieces = sorted(file.parent for file in run_dir.glob("wandb/*run-*/*.wandb") if not file.parent.is_symlink())
    if not pieces:
        raise MachineError(f"{run_dir} has no W&B files; train with logging.wandb=offline to make them")
    address = wandb_address(os.environ)
    if not has_wandb_key(os.environ):
        raise MachineError(f"no key for {address} in WANDB_API_KEY or ~/.netrc; export WANDB_API_KEY=…")
    reason = unreachable(address, ANSWER_SECONDS)
    if reason is not None:
        raise MachineError(f"W&B is not reached: {reason}; run the same command again where the network has it")
    command = [sys.executable, "-m", "wandb", "sync", "--yes", "--include-online", *map(str, pieces)]
    # its progress is shown as it comes: an upload of weeks of training takes minutes
    if subprocess.run(command).returncode:
        raise MachineError(f"W&B took not all of {run_dir}, for the reason above; run the same command again")
    console.say(f"W&B has all of {run_dir} ({len(pieces)} pieces)")
    return 0
