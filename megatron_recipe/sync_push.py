"""Copy a run, or any folder, to a store: data first, verified by checksums, and only then the file that completes it.

So whatever the moment of a kill, the store holds no checkpoint with a marker that is not whole.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from megatron_recipe import console
from megatron_recipe.checkpoint_integrity import MARKER
from megatron_recipe.errors import CheckpointError, DataError, MachineError
from megatron_recipe.sync_branches import EVENTS, branches_of, require_same_run
from megatron_recipe.sync_stage import CHECKPOINTS, LAST, STAGE, newest_whole, stage, step_in, sync_lock
from megatron_recipe.sync_store import Store


@dataclass(frozen=True)
class Pushed:
    """What a copy holds: the checkpoint in it (None where the folder has none), and its size."""

    checkpoint: str | None
    bytes: int


def push(folder: Path, store: Store, keep: int = 2) -> Pushed:
    """Copy `folder` to `folder.name` in the store, with its newest whole checkpoint; verified when it returns.

    Args:
        keep: checkpoints that stay in the store; older ones are deleted there.

    Raises:
        DataError: there is no such folder, it is being copied, or the store has another run of its name, or more of
            this one than the folder.
        CheckpointError: it has checkpoints, and none is whole.
        MachineError: the copy failed, or did not verify after a second attempt.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; name a run (runs/NAME), a dataset or an export")
    with sync_lock(folder):
        checkpoint, problems = newest_whole(folder)
        for problem in problems:
            console.warn(f"not copied: {problem}")
        if checkpoint is None and problems:
            raise CheckpointError(
                f"{folder}: none of its {len(problems)} checkpoints is whole: {problems[0]}; "
                f"an older copy comes back with `megatron-recipe sync {folder} --from PLACE`"
            )
        require_same_run(folder, store.read(f"{folder.name}/{EVENTS}"), store.name)
        given_up = _given_up_there(folder, store, step_in(checkpoint.name) or 0) if checkpoint else []
        root = stage(folder, checkpoint)
        try:
            pushed = _push_staged(root, folder.name, store, checkpoint.name if checkpoint else None)
            if checkpoint:  # only now that it is there
                _delete_other(store, f"{folder.name}/{CHECKPOINTS}", given_up, keep)
            return pushed
        finally:
            shutil.rmtree(folder / STAGE / "to", ignore_errors=True)


def _push_staged(root: Path, name: str, store: Store, checkpoint: str | None) -> Pushed:
    size = sum(path.stat().st_size for path in (root / name).rglob("*") if path.is_file())
    console.say(f"sync: {name} ({size / 1e6:,.1f} MB{f', {checkpoint}' if checkpoint else ''}) → {store.name}")
    markers = sorted(path for last in LAST for path in (root / name).rglob(last))
    for marker in markers:
        _withdraw_other(store, marker, marker.relative_to(root).as_posix())
    _put_verified(store, root, name)
    store.put(root, name)  # what is still missing: the markers
    for marker in markers:
        if store.read(marker.relative_to(root).as_posix()) != marker.read_bytes():
            raise MachineError(
                f"{store.name}: {marker.relative_to(root)} did not arrive as it is; run the same command again"
            )
    return Pushed(checkpoint, size)


def _given_up_there(folder: Path, store: Store, step: int) -> list[str]:
    """Checkpoints of the store beyond `step` that this run gave up, or that are not whole there.

    Left there, they would be taken for its newest. Raises DataError for one that the run stands on, or of which it
    knows nothing: then the folder has less than the copy.
    """
    listed, branches = store.files(f"{folder.name}/{CHECKPOINTS}"), branches_of(folder)
    beyond = sorted(name for name in _steps(listed) if (step_in(name) or 0) > step)
    for name in beyond:
        if f"{name}/{MARKER}" in listed and step_in(name) not in branches.given_up:
            is_lost = step_in(name) in branches.alive
            raise DataError(
                f"{store.name} has {name} of {folder.name}, "
                + (f"which is not whole in {folder} any more" if is_lost else f"where {folder} never was")
                + f" (it is at step {step}): bring it back first (sync --from), or copy to another place"
            )
    return beyond


def _steps(listed: list[str]) -> set[str]:
    """Names of checkpoints among files below `checkpoints`."""
    return {name.partition("/")[0] for name in listed if step_in(name.partition("/")[0]) is not None}


def _withdraw_other(store: Store, marker: Path, path: str) -> None:
    """Take away the marker of another state of the same folder, before that state is written over."""
    there = store.read(path)
    if there is not None and there != marker.read_bytes():
        store.remove(path)


def _put_verified(store: Store, root: Path, name: str) -> None:
    """Copy all but the markers, and compare by checksums; what differs is copied once more."""
    store.put(root, name, LAST)
    different = store.differences(root, name, LAST)
    if different:
        store.put(root, name, LAST, distrust=True)
        different = store.differences(root, name, LAST)
    if different:
        raise MachineError(
            f"{store.name}: the copy differs from {name} in {', '.join(different[:3])}"
            f"{f' and {len(different) - 3} more' if len(different) > 3 else ''}, also after a second attempt; it is "
            "not marked as complete. Look at the storage, then run the same command again"
        )


def _delete_other(store: Store, checkpoints: str, given_up: list[str], keep: int) -> None:
    """Those of another branch, and all but the newest `keep`."""
    listed = store.files(checkpoints)
    steps = sorted(_steps(listed).difference(given_up))
    for step in [*given_up, *steps[: max(len(steps) - max(keep, 1), 0)]]:
        if f"{step}/{MARKER}" in listed:  # first: a half deleted checkpoint must not look whole
            store.remove(f"{checkpoints}/{step}/{MARKER}")
        store.remove(f"{checkpoints}/{step}")
