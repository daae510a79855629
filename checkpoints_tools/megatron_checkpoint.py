"""Read a Megatron `torch_dist` checkpoint on a CPU: no process groups, no GPU, no Megatron, no Transformer Engine.

Megatron's format (megatron/core/dist_checkpointing/strategies/torch.py) is PyTorch's distributed checkpoint, which
lists every whole tensor and where its pieces lie, so the layout that wrote it does not matter here: distcp.py.
Layers come in two forms, and both are read: stacked, `decoder.layers.<name>` with a leading layer dimension, and
single, `decoder.layers.<i>.<name>`, where linear_fc1 is also cut into `_w` (gate) and `_v` (up).
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from checkpoints_tools.distcp import StoredTensor, read_region, read_stored_tensors
from megatron_recipe.checkpoint_integrity import INTEGRITY, OWN_CHECKSUM, marker_is_whole
from megatron_recipe.errors import CheckpointError, in_short
from megatron_recipe.files import sha256_file

if TYPE_CHECKING:
    from megatron_recipe.config import ModelConfig

MODEL_KEY = re.compile(r"^(?:model\d*\.|module\.)*((?:embedding|decoder|output_layer)\..+)$")
NOT_A_WEIGHT = "_extra_state"
COMPLETE = "checkpoint.json"


@dataclass(frozen=True)
class TensorInfo:
    """Shape and type of one tensor of a checkpoint."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def size_bytes(self) -> int:
        """Bytes of the whole tensor."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def find_checkpoint(path: Path) -> Path:
    """The checkpoint meant by a checkpoint folder, a run folder or its `checkpoints` folder (newest complete one).

    Raises CheckpointError where there is none.
    """
    parts = [name for name in (".metadata", COMPLETE) if (path / name).is_file()]
    if len(parts) == 2:
        return path
    if parts == [".metadata"]:
        raise CheckpointError(
            f"{path}: {COMPLETE} is missing, so this checkpoint was not written to the end; take an older one"
        )
    if parts:
        raise CheckpointError(f"{path}: .metadata is missing, which says where the weights lie; copy it again")
    complete = run_checkpoints(path)
    if complete:
        return max(complete, key=_newness)
    raise CheckpointError(
        f"{path}: no complete checkpoint here; give a run folder (runs/<name>) or one of its checkpoints/step_* folders"
    )


def run_checkpoints(run: Path) -> list[Path]:
    """The complete checkpoints below a run folder or its `checkpoints` folder, of weights alone too."""
    for folder in (run / "checkpoints", run):
        complete = [file.parent for file in folder.glob(f"*/{COMPLETE}") if (file.parent / ".metadata").is_file()]
        if complete:
            return sorted(complete)
    return []


def _newness(checkpoint: Path) -> tuple[int, bool]:
    # of one step, the run's own checkpoint goes before a mean or a copy
    return checkpoint_facts(checkpoint)["step"], checkpoint.name.startswith("step_")


def checkpoint_facts(checkpoint: Path) -> dict[str, Any]:
    """What checkpoint.json says: step, samples, tokens, losses, vocabulary size and the model section of the config.

    Raises CheckpointError where it cannot be read or lacks one of them.
    """
    try:
        facts: dict[str, Any] = json.loads((checkpoint / COMPLETE).read_text(encoding="utf-8"))
        missing = [name for name in ("step", "vocab_size", "model") if name not in facts]
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{checkpoint / COMPLETE}: not readable ({error}); take another checkpoint") from error
    if missing:
        raise CheckpointError(
            f"{checkpoint / COMPLETE}: lacks {', '.join(missing)}, so it is not of this project's trainer; "
            "give a checkpoint that `megatron-recipe train` wrote"
        )
    return facts


def model_config(facts: dict[str, Any]) -> "ModelConfig":
    """The model section of a checkpoint's facts. Raises CheckpointError for one of another version of this project."""
    from pydantic import ValidationError

    from megatron_recipe.config import ModelConfig

    try:
        return ModelConfig.model_validate(facts["model"])
    except ValidationError as error:
        problem = error.errors()[0]
        raise CheckpointError(
            f"{COMPLETE}: model.{'.'.join(map(str, problem['loc']))}: {problem['msg']}; "
            "the checkpoint is of another architecture or version of this project"
        ) from error


def verify_lists(checkpoint: Path) -> None:
    """Check everything but the large files: the marker, the lists, and that no file is missing.

    The values of a weight are checked when they are read, each with the checksum that is stored beside it, so that an
    export need not read the optimizer's states, which lie in the same files. A checkpoint without the lists passes.
    Raises CheckpointError.
    """
    if OWN_CHECKSUM in checkpoint_facts(checkpoint) and not marker_is_whole(checkpoint):
        raise CheckpointError(f"{checkpoint / COMPLETE}: changed since it was written; take another checkpoint")
    for name, expected in checksums(checkpoint).items():
        file = checkpoint / name
        changed = file.is_file() and not name.endswith(".distcp") and sha256_file(file) != expected
        if changed or not file.is_file():
            raise CheckpointError(
                f"{file}: missing or changed since it was written; take another checkpoint of the run"
            )


def checksums(checkpoint: Path) -> dict[str, str]:
    """{file: SHA-256} of Megatron's integrity.json; empty without one. Raises CheckpointError for a changed one."""
    listing = checkpoint / INTEGRITY
    if not listing.is_file():
        return {}
    if checkpoint_facts(checkpoint).get("integrity_sha256", (own := sha256_file(listing))) != own:
        raise CheckpointError(f"{listing}: changed since it was written; take another checkpoint")
    try:
        return {**json.loads(listing.read_text(encoding="utf-8"))["files"]}
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{listing}: damaged ({in_short(error)}); take another checkpoint of the run") from error


class CheckpointReader:
    """The weights of a checkpoint, one at a time, under Megatron's names with layer numbers.

    Raises CheckpointError for a folder that holds no Megatron GPT.
    """

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint
        self.stored = read_stored_tensors(checkpoint)
        """All tensors under the names of the file, the optimizer's too."""
        self._parts = _parts_by_name(self.stored)
        if not self._parts:
            raise CheckpointError(
                f"{checkpoint}: holds no weights of a Megatron GPT (no embedding or decoder); "
                "name a run, or a checkpoint of one"
            )
        self.weights = {name: _info(parts) for name, parts in self._parts.items()}
        """Shape and type of each weight, as `read` gives it."""

    def read(self, name: str) -> Tensor:
        """One weight, as saved. Raises CheckpointError where it is missing or damaged."""
        if name not in self._parts:
            raise CheckpointError(f"{self.checkpoint}: lacks {name}; take a checkpoint of this project's trainer")
        parts = [read_region(stored, layer) for stored, layer in self._parts[name]]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def read_model_weights(checkpoint: Path) -> dict[str, Tensor]:
    """All weights of the model at once, as saved. Raises CheckpointError for a damaged checkpoint or another one."""
    reader = CheckpointReader(checkpoint)
    return {name: reader.read(name) for name in reader.weights}


Part = tuple[StoredTensor, int | None]
"""A stored tensor, and which index of its first dimension is meant; None: all of it."""


def _parts_by_name(stored: dict[str, StoredTensor]) -> dict[str, list[Part]]:
    """Name with layer number → what it is read from; the two halves of a cut linear_fc1 are joined again."""
    found: dict[str, list[Part]] = {}
    for name, tensor in stored.items():
        own = MODEL_KEY.match(name)
        if not own or NOT_A_WEIGHT in name:
            continue
        stacked = re.match(r"decoder\.layers\.(?!\d+\.)(.+)$", own[1])
        if stacked:
            layers = range(tensor.shape[0])
            found.update({f"decoder.layers.{layer}.{stacked[1]}": [(tensor, layer)] for layer in layers})
        else:
            found[own[1]] = [(tensor, None)]
    for gate in [name for name in found if name.endswith("linear_fc1.weight_w")]:
        whole = gate.removesuffix("_w")
        if f"{whole}_v" in found:
            found[whole] = found.pop(gate) + found.pop(f"{whole}_v")
    return found


def _info(parts: list[Part]) -> TensorInfo:
    shapes = [stored.shape if layer is None else stored.shape[1:] for stored, layer in parts]
    rows = [sum(shape[0] for shape in shapes)] if shapes[0] else []
    return TensorInfo((*rows, *shapes[0][1:]), parts[0][0].dtype)
