"""What tests of whole runs share: runs copied as they stood, and what happened in them."""

import shutil
from pathlib import Path
from typing import Any

from commands import recipe_command, run_warm

from megatron_recipe.checkpoint_integrity import MARKER
from megatron_recipe.files import read_jsonl


def copy_at(run: Path, step: int, copy: Path) -> Path:
    """A copy of a run as it stood with the checkpoint of `step` as its newest."""
    shutil.copytree(run, copy)
    for marker in copy.glob(f"checkpoints/step_*/{MARKER}"):
        if int(marker.parent.name.removeprefix("step_")) > step:
            shutil.rmtree(marker.parent)
    assert (copy / f"checkpoints/step_{step:08d}").is_dir()
    return copy


def events(run: Path, *kinds: str) -> list[dict[str, Any]]:
    """What happened in a run, of some kinds or of all, in the order of time."""
    path = run / "events.jsonl"
    return [event for event in read_jsonl(path) if not kinds or event["event"] in kinds] if path.exists() else []


def trained(folder: Path, *arguments: object) -> str:
    """Run `train ARGUMENTS`, which must end well; returns what it said."""
    result = run_warm(recipe_command(["train", *arguments]), folder)
    assert result.returncode == 0, result.stderr
    return result.stderr


def training_is_refused(folder: Path, *arguments: object) -> str:
    """Run `train ARGUMENTS`, which must end with one message and exit code 2; returns the message."""
    result = run_warm(recipe_command(["train", *arguments]), folder)
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    before, found, message = result.stderr.rpartition("error: ")
    assert found and "error: " not in before, result.stderr
    return message
