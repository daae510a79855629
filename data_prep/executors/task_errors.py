"""Errors of tasks that ran elsewhere: written to a file by the task, raised again by the run that waits for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from megatron_recipe import errors
from megatron_recipe.errors import MachineError, RecipeError
from megatron_recipe.files import write_json


@contextmanager
def recorded(folder: Path, rank: int) -> Iterator[None]:
    """Write an error of the block to ``FOLDER/errors/RANK.json`` and let it pass."""
    path = _path(folder, rank)
    path.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        write_json(path, {"kind": type(error).__name__, "message": str(error)})
        raise


def raise_recorded(folder: Path) -> None:
    """Raise the error of the first task that recorded one, as its own kind if it is one for users."""
    for path in sorted((folder / "errors").glob("*.json")):
        error = json.loads(path.read_text(encoding="utf-8"))
        kind = getattr(errors, error["kind"], None)
        if isinstance(kind, type) and issubclass(kind, RecipeError):
            raise kind(error["message"])
        raise MachineError(
            f"task {int(path.stem)} ended with {error['kind']}: {error['message']}; its log is in {folder / 'logs'}"
        )


def forget(folder: Path) -> None:
    """Remove what an earlier run recorded: its failed tasks are tried again."""
    for path in (folder / "errors").glob("*.json"):
        path.unlink()


def _path(folder: Path, rank: int) -> Path:
    return folder / "errors" / f"{rank:05d}.json"
