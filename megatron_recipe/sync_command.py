"""The command `sync`: a run to and from another place, or what it kept offline to W&B."""

import os
import subprocess
import sys
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.errors import ConfigError, MachineError
from megatron_recipe.loggers.reach import unreachable
from megatron_recipe.loggers.requirements import has_wandb_key, wandb_address

ANSWER_SECONDS = 10.0


def sync_command(
    folder: Path,
    to: str | None = None,
    from_: str | None = None,
    keep: int = 2,
    ssh_port: int | None = None,
    *,
    dry_run: bool = False,
) -> int:
    """Copy `folder` to or from a place, or upload it to W&B where neither is named; returns the exit code 0.

    Raises:
        ConfigError: both places are named, or one that is none.
        DataError, CheckpointError, MachineError: as `push`, `pull` and `sync_wandb`.
    """
    if to is not None and from_ is not None:
        raise ConfigError("sync takes --to or --from, one of them")
    if to is None and from_ is None:
        return sync_wandb(folder)
    from megatron_recipe.sync_pull import pull
    from megatron_recipe.sync_push import push
    from megatron_recipe.sync_store import open_store, require_elsewhere

    store = open_store(to or from_ or "", ssh_port)
    folder = folder.resolve()
    require_elsewhere(folder, store.name)
    if dry_run:
        console.say(f"would copy {folder} to {store.name}" if to else f"would copy {store.name} to {folder}")
        return 0
    if to:
        pushed = push(folder, store, keep)
        what = f"with {pushed.checkpoint}" if pushed.checkpoint else "which has no checkpoint"
        console.say(f"sync: {store.name} has all of {folder.name}, {what}; verified")
    else:
        pull(folder, store)
    return 0


def sync_wandb(run_dir: Path) -> int:
    """Upload the pieces of a run's W&B files that are not uploaded yet, in their order; returns the exit code 0.

    Raises:
        MachineError: there are none, the package or a key is missing, the service does not answer, or the upload fails.
    """
    pieces = sorted(file.parent for file in run_dir.glob("wandb/*run-*/*.wandb") if not file.parent.is_symlink())
    if not pieces:
        raise MachineError(
            f"{run_dir} has no W&B files; train with logging.wandb=offline to make them, or name a place to copy the "
            "run to: --to user@host:path or --to remote:path"
        )
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
