"""What of a folder is copied: a picture of it that no longer changes, taken without copying the large files.

A run goes on while it is copied: records grow, checkpoints are deleted. So a folder is staged first, in FOLDER/.sync:
records are copied, files that are written once are linked, which keeps them though the trainer deletes them.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megatron_recipe.checkpoint_integrity import MARKER, damage
from megatron_recipe.files import held_alone

STAGE = ".sync"
CHECKPOINTS = "checkpoints"
LAST = (MARKER, "manifest.json")
"""Files whose presence says that the folder around them is complete: they are copied when all else has verified."""
GROWING_BYTES = 64e6
"""Larger files of a run are linked: of those that grow, none comes near."""


@contextmanager
def sync_lock(folder: Path) -> Iterator[None]:
    """Keep two copies of one folder from staging at once. Raises DataError where one is under way."""
    busy = f"{folder} is being copied by process {{holder}}; wait for its end, or stop it"
    with held_alone(folder / STAGE / "lock", busy):
        yield


def newest_whole(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint of a run whose every byte verifies, and what is wrong with newer ones."""
    problems: list[str] = []
    for checkpoint in reversed(marked_checkpoints(folder)):
        problem = damage(checkpoint)
        if problem is None:
            return checkpoint, problems
        problems.append(f"{checkpoint.name}: {problem}")
    return None, problems


def marked_checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run with a marker, oldest first (as `checkpoint.complete_checkpoints`, which needs torch)."""
    found = [path.parent for path in (folder / CHECKPOINTS).glob(f"step_*/{MARKER}")]
    return sorted((path for path in found if step_in(path.name) is not None), key=lambda path: step_in(path.name) or 0)


def step_in(name: str) -> int | None:
    """The step in a checkpoint's name; None for another name."""
    digits = name.removeprefix("step_")
    return int(digits) if name.startswith("step_") and digits.isdecimal() else None


def stage(folder: Path, checkpoint: Path | None) -> Path:
    """Stage `folder` with at most this one of its checkpoints; returns the root that `folder.name` lies in."""
    root = folder / STAGE / "to"
    shutil.rmtree(root, ignore_errors=True)
    is_run = (folder / "config.yaml").is_file()
    for path in _files(folder, is_run):
        target = root / folder.name / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if is_run and path.stat().st_size < GROWING_BYTES:
                shutil.copy2(path, target)
            else:
                _link(path, target)
        except FileNotFoundError:
            continue  # a temporary file that is gone
    if checkpoint is not None:
        target = root / folder.name / CHECKPOINTS / checkpoint.name
        target.mkdir(parents=True)
        for path in checkpoint.iterdir():
            _link(path, target / path.name)
    root.mkdir(parents=True, exist_ok=True)
    return root


def _files(folder: Path, is_run: bool) -> Iterator[Path]:
    """Files to copy besides checkpoints: nothing hidden or partial, and no cache that is made anew where it lacks."""
    left_out = {CHECKPOINTS, "index_cache"} if is_run else set()
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders[:] = [
            name for name in folders if not name.startswith(".") and not (here == folder and name in left_out)
        ]
        yield from (here / name for name in sorted(names) if not name.startswith(".") and (here / name).is_file())


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except FileNotFoundError:
        raise
    except OSError:  # a disk without hard links: the copy then fails if the trainer deletes the file in the middle
        target.symlink_to(path.resolve())
