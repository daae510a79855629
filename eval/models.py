"""What can be evaluated: a Hugging Face folder as it is, a run or a checkpoint through its export.

The export of a run's checkpoint is kept in RUN/eval/models and made again only when the checkpoint is newer.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from checkpoints_tools.hf_folder import require_file
from megatron_recipe.checkpoint_integrity import MARKER
from megatron_recipe.errors import CheckpointError

MODELS = "eval/models"


@dataclass(frozen=True)
class Evaluated:
    """A folder that transformers loads, and what the user named."""

    folder: Path
    source: Path

    @property
    def home(self) -> Path:
        """Where results belong: the run of a checkpoint, else the folder itself."""
        inside_run = self.source != self.folder and self.source.absolute().parent.name == "checkpoints"
        return self.source.parent.parent if inside_run else self.source

    @property
    def facts(self) -> dict[str, Any]:
        """As results hold them."""
        return {"model": str(self.source), "folder": str(self.folder)}


def is_hf_folder(source: Path) -> bool:
    """Whether transformers would load it."""
    return (source / "config.json").is_file()


def check_model(source: Path) -> Path:
    """The same path, if it looks like a model, without loading torch. Raises CheckpointError otherwise."""
    if is_hf_folder(source):
        require_file(source, "tokenizer.json")
        return source
    for pattern in (MARKER, f"*/{MARKER}", f"checkpoints/*/{MARKER}"):
        if any(source.glob(pattern)):
            return source
    raise CheckpointError(
        f"{source}: not a Hugging Face folder (no config.json), nor a run or a checkpoint (no {MARKER}); "
        "give exports/NAME, runs/NAME or runs/NAME/checkpoints/step_…"
    )


def find_model(source: Path) -> Evaluated:
    """The folder to load for a Hugging Face folder, a run (its newest checkpoint) or a checkpoint.

    Raises CheckpointError where it is none of them or cannot be exported.
    """
    check_model(source)
    if is_hf_folder(source):
        return Evaluated(source, source)
    from checkpoints_tools.megatron_checkpoint import find_checkpoint
    from checkpoints_tools.to_hf import EXPORT, export_run
    from megatron_recipe.console import say

    checkpoint = find_checkpoint(source)
    inside_run = checkpoint.absolute().parent.name == "checkpoints"
    folder = checkpoint.parent.parent / MODELS / checkpoint.name if inside_run else Path(f"{checkpoint}_hf")
    facts = folder / EXPORT
    if not facts.is_file() or facts.stat().st_mtime < (checkpoint / MARKER).stat().st_mtime:
        say(f"exporting {checkpoint} to {folder}; `megatron-recipe convert compare` proves that it is the same model")
        export_run(checkpoint, folder, compare=False)
    return Evaluated(folder, checkpoint)
