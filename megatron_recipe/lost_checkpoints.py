"""A run whose records are there and whose checkpoints are gone does not begin anew by itself.

Its first save would end the records, and the copy that `checkpoint.sync_to` made would follow.
"""

from pathlib import Path

from megatron_recipe.checkpoint_integrity import MARKER
from megatron_recipe.config import CheckpointConfig
from megatron_recipe.errors import CheckpointError, MachineError
from megatron_recipe.sync_branches import branches_of


def require_checkpoints(config: CheckpointConfig, run_dir: Path) -> None:
    """Raise an error where a run has saved checkpoints, and none is there, not even a damaged one.

    Raises:
        CheckpointError: they were deleted, or an empty folder has taken their place.
        MachineError: `checkpoints` is a link to a place that is not there.
    """
    folder = run_dir / "checkpoints"
    if folder.is_symlink() and not folder.exists():
        raise MachineError(
            f"{folder} is a link to {folder.readlink()}, which is not there; mount that disk, or remove the link"
        )
    if config.when_none_is_whole == "begin_anew" or any(folder.glob(f"step_*/{MARKER}")):
        return
    if saved := branches_of(run_dir).alive:
        raise CheckpointError(
            f"{run_dir}: its records say that step {max(saved)} was saved, and {folder} has no checkpoint; bring them "
            f"back (the disk that they were on, or megatron-recipe sync {run_dir} --from {config.sync_to or 'PLACE'}), "
            "or begin anew with another --run-dir or with checkpoint.when_none_is_whole=begin_anew"
        )
